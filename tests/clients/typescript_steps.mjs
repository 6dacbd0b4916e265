// The steps of typescript_sdk.mjs: functions of a connection, run one after the other. They know nothing of transports.

import { strict as assert } from 'node:assert';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==';
const WATCHED = 'test://watched-resource';
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';

const accept = (content) => ({ action: 'accept', content });
const sampled = (text) => ({ role: 'assistant', content: { type: 'text', text }, model: 'a-model', stopReason: 'endTurn' });
const says = (text) => ({ role: 'user', content: { type: 'text', text } });
export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Awaits a request that has to be answered with a protocol error, and returns that. */
async function refused(request) {
    const answer = await request.then((result) => ({ result }), (error) => ({ error }));
    assert.ok(answer.error, `a result, not an error: ${JSON.stringify(answer.result)}`);
    assert.equal(typeof answer.error.code, 'number', `not a protocol error: ${answer.error}`);
    return answer.error;
}

async function negotiated(c) {
    assert.equal(c.client.getNegotiatedProtocolVersion(), c.era);
    assert.equal(c.client.getProtocolEra(), c.modern ? 'modern' : 'legacy');
    assert.equal(c.client.getServerVersion().name, 'everything');
    const capabilities = c.client.getServerCapabilities();
    for (const name of ['tools', 'resources', 'prompts', 'completions']) assert.ok(capabilities[name], `no ${name}`);
}

async function toolsAreListedInOrder(c) {
    const lists = [];
    for (let round = 0; round < 2; round += 1) lists.push((await c.client.listTools(undefined, { cacheMode: 'bypass' })).tools);
    const [first, second] = lists.map((tools) => tools.map((tool) => tool.name));
    assert.deepEqual(second, first);
    assert.equal(first[0], 'test_simple_text');
    assert.equal(new Set(first).size, first.length);
    const schema = lists[0].find((tool) => tool.name === 'json_schema_2020_12_tool').inputSchema;
    assert.equal(schema.$defs.address.$anchor, 'addressDef');
}

async function echoReturnsItsText(c) {
    for (const text of ['hello', '', 'tab\t, line\nbreak, "quotes", \\, \u2028', 'héllo 世界 🦀', 'x'.repeat(100_000)]) {
        assert.equal(await c.text('echo', { text }), text);
    }
}

async function aCallWithoutArguments(c) {
    assert.equal(await c.text('test_simple_text'), 'This is a simple text response for testing.');
}

async function fastCallOvertakesSlowOne(c) {
    const order = [];
    const slow = c.text('sleep', { ms: 2000 }).then(() => order.push('slow'));
    await pause(100);
    await c.text('echo', { text: 'fast' });
    order.push('fast');
    await slow;
    assert.deepEqual(order, ['fast', 'slow']);
}

/**
 * Of what comes in one piece with the answer this SDK loses the events: it handles answers at once and notifications a moment later
 * (https://github.com/modelcontextprotocol/typescript-sdk/issues/2580). On a busy machine that can be all of them.
 */
async function progressArrivesInOrder(c) {
    const seen = [];
    const onprogress = ({ progress, total, message }) => seen.push([progress, total, message]);
    assert.equal(await c.text('progress', { n: 4, delay_ms: 20 }, { onprogress }), '4 steps');
    const late = c.faults.splice(0).map(({ message }) => Number(LATE_PROGRESS.exec(message)?.[1]));
    assert.deepEqual(late, [1, 2, 3, 4].slice(seen.length));
    assert.deepEqual(seen, [1, 2, 3, 4].slice(0, seen.length).map((step) => [step, 4, 'working']));
}

const LATE_PROGRESS = /progress notification for an unknown token: .*"progress":(\d),/;

async function logMessagesArriveInOrder(c) {
    c.logs.length = 0;
    const request = { name: 'test_tool_with_logging', arguments: {} };
    if (c.modern) request._meta = { [LOG_LEVEL]: 'debug' };
    else await c.client.setLoggingLevel('debug');
    const result = await c.client.callTool(request);
    assert.equal(result.content[0].text, 'Tool with logging executed successfully');
    const said = ['Tool execution started', 'Tool processing data', 'Tool execution completed'];
    assert.deepEqual(c.logs, said.map((text) => ['info', text]));
}

async function panicIsOneFailedCall(c) {
    const error = await refused(c.call('panic', {}));
    assert.equal(error.code, -32603);
    assert.ok(!`${error.message} ${JSON.stringify(error.data)}`.includes('PANIC-SECRET'), 'the text of the panic is on the wire');
    assert.equal(await c.text('echo', { text: 'still here' }), 'still here');
}

async function toolErrorIsAResult(c) {
    const { isError, content } = await c.call('test_error_handling', {});
    assert.deepEqual([isError, content], [true, [{ type: 'text', text: 'This tool intentionally returns an error for testing' }]]);
}

async function unknownToolIsInvalidParams(c) {
    assert.equal((await refused(c.call('no-such-tool', {}))).code, -32602);
}

async function structuredContentFitsItsSchema(c) {
    await c.client.listTools(); // so that the SDK has the schema and checks the result itself
    await c.waitUntilIdle();
    const { structuredContent, content } = await c.call('status', {});
    assert.equal(structuredContent.active, 0);
    assert.deepEqual(content.map(({ text }) => JSON.parse(text)), [structuredContent]);
}

/** Over HTTP the stateless era has the SDK say it twice, encoded where a header field can not hold it as it is. */
async function aParameterThatAHeaderMirrors(c) {
    for (const value of ['plain', '', ' padded ', 'héllo 世界', '=?base64?cGxhaW4=?=']) {
        assert.equal(await c.text('test_custom_header', { value }), value);
    }
}

/** The tool ends its response stream early, where there is one and its revision allows that; the SDK comes back for the answer. */
async function anAnswerAfterTheStreamEnded(c) {
    assert.equal(await c.text('test_reconnection', {}), 'The client came back for this');
}

async function pingIsAnswered(c) {
    await c.client.ping();
}

async function cancellingFreesTheWorker(c) {
    const cancel = new AbortController();
    const call = c.call('sleep', { ms: 30_000 }, { signal: cancel.signal }).then(() => 'an answer', () => 'none');
    while ((await c.status()).active === 0) await pause(20);
    cancel.abort('the test');
    assert.equal(await call, 'none');
    await c.waitUntilIdle();
}

async function resourcesAreListed(c) {
    const { resources } = await c.client.listResources();
    assert.deepEqual(
        resources.map(({ uri, name, mimeType }) => [uri, name, mimeType]),
        [
            ['test://static-text', 'static-text', 'text/plain'],
            ['test://static-binary', 'static-binary', 'image/png'],
            ['test://watched-resource', 'watched-resource', 'text/plain']
        ]
    );
    const { resourceTemplates } = await c.client.listResourceTemplates();
    assert.deepEqual(
        resourceTemplates.map(({ uriTemplate, mimeType }) => [uriTemplate, mimeType]),
        [['test://template/{id}/data', 'application/json']]
    );
}

async function resourcesAreRead(c) {
    const read = async (uri) => (await c.client.readResource({ uri })).contents;
    const text = 'This is the content of the static text resource.';
    assert.deepEqual(await read('test://static-text'), [{ uri: 'test://static-text', mimeType: 'text/plain', text }]);
    assert.deepEqual(await read('test://static-binary'), [{ uri: 'test://static-binary', mimeType: 'image/png', blob: PNG }]);
    const [record] = await read('test://template/a%20b/data');
    assert.deepEqual(JSON.parse(record.text), { id: 'a b', templateTest: true, data: 'Data for ID: a b' });
}

async function anUnknownResourceIsNamed(c) {
    const uri = 'test://no-such-resource';
    const error = await refused(c.client.readResource({ uri }));
    // The SDK shows the code of the stateless era for that of the handshake era, too; the Python steps look at the code itself.
    assert.deepEqual([error.constructor.name, error.code, error.data], ['ResourceNotFoundError', -32602, { uri }]);
}

async function promptsAreListed(c) {
    const { prompts } = await c.client.listPrompts();
    assert.deepEqual(prompts.map(({ name }) => name).sort(), [
        'test_input_required_result_prompt',
        'test_prompt_with_arguments',
        'test_prompt_with_embedded_resource',
        'test_prompt_with_image',
        'test_simple_prompt'
    ]);
}

async function promptsAreFilledIn(c) {
    const prompt = async (name, args) => (await c.client.getPrompt({ name, arguments: args })).messages;
    assert.deepEqual(await prompt('test_simple_prompt'), [says('This is a simple prompt for testing.')]);
    assert.deepEqual(await prompt('test_prompt_with_arguments', { arg1: 'héllo', arg2: "'" }), [
        says("Prompt with arguments: arg1='héllo', arg2='''")
    ]);
    const resource = { uri: 'test://mine', mimeType: 'text/plain', text: 'Embedded resource content for testing.' };
    assert.deepEqual(await prompt('test_prompt_with_embedded_resource', { resourceUri: 'test://mine' }), [
        { role: 'user', content: { type: 'resource', resource } },
        says('Please process the embedded resource above.')
    ]);
    assert.deepEqual(await prompt('test_prompt_with_image'), [
        { role: 'user', content: { type: 'image', data: PNG, mimeType: 'image/png' } },
        says('Please analyze the image above.')
    ]);
    for (const name of ['test_prompt_with_arguments', 'no-such-prompt']) assert.equal((await refused(prompt(name, {}))).code, -32602);
}

async function argumentsAreCompleted(c) {
    const complete = async (ref, name, value) => (await c.client.complete({ ref, argument: { name, value } })).completion.values;
    const prompt = { type: 'ref/prompt', name: 'test_prompt_with_arguments' };
    assert.deepEqual(await complete(prompt, 'arg1', 'test'), ['test one', 'test two']);
    assert.deepEqual(await complete(prompt, 'arg1', 'zzz'), []);
    const template = { type: 'ref/resource', uri: 'test://template/{id}/data' };
    assert.deepEqual(await complete(template, 'id', '7'), [...'0123456789'].map((digit) => `7${digit}`));
}

async function aPersonAnswers(c) {
    const user = accept({ username: 'ana', email: 'ana@example.com' });
    for (const [answer, said] of [
        [user, 'ana <ana@example.com>'],
        [{ action: 'decline' }, 'declined'],
        [{ action: 'cancel' }, 'dismissed']
    ]) {
        c.willAnswer({ 'elicitation/create': [answer] });
        assert.equal(await c.text('test_elicitation', { message: 'Who are you?' }), `User response: ${said}`);
        const [[method, params], ...more] = c.asked;
        assert.deepEqual([method, params.message, more], ['elicitation/create', 'Who are you?', []]);
        assert.deepEqual(params.requestedSchema.required, ['username', 'email']);
    }
}

async function aFormWithDefaults(c) {
    c.willAnswer({ 'elicitation/create': [accept({ name: 'Jane', age: 41, score: 1.5, status: 'pending', verified: false })] });
    const content = '{"name":"Jane","age":41,"score":1.5,"status":"pending","verified":false}';
    assert.equal(await c.text('test_elicitation_sep1034_defaults', {}), `Elicitation completed: action=accept, content=${content}`);
    const properties = Object.entries(c.asked[0][1].requestedSchema.properties);
    assert.deepEqual(Object.fromEntries(properties.map(([name, property]) => [name, property.default])), {
        name: 'John Doe',
        age: 30,
        score: 95.5,
        status: 'active',
        verified: true
    });
}

async function aFormWithChoices(c) {
    const choices = { legacyEnum: 'opt2', titledMulti: ['value1', 'value3'], titledSingle: 'value2', untitledSingle: 'option1' };
    c.willAnswer({ 'elicitation/create': [accept(choices)] });
    const said = `Elicitation completed: action=accept, content=${JSON.stringify(choices)}`;
    assert.equal(await c.text('test_elicitation_sep1330_enums', {}), said);
}

async function aModelAnswers(c) {
    c.willAnswer({ 'sampling/createMessage': [sampled('Paris')] });
    assert.equal(await c.text('test_sampling', { prompt: 'Capital of France?' }), 'LLM response: Paris');
    const [[, { messages, maxTokens }]] = c.asked;
    assert.deepEqual([messages, maxTokens], [[says('Capital of France?')], 100]);
}

async function threeQuestionsOfOneCall(c) {
    c.willAnswer({
        'elicitation/create': [accept({ name: 'Ana' })],
        'sampling/createMessage': [sampled('Good day')],
        'roots/list': [{ roots: [{ uri: 'file:///a' }, { uri: 'file:///b' }] }]
    });
    assert.equal(await c.text('test_input_required_result_multiple_inputs', {}), 'Good day, Ana of 2 folders');
    assert.deepEqual(c.asked.map(([method]) => method).sort(), ['elicitation/create', 'roots/list', 'sampling/createMessage']);
}

async function severalRounds(c) {
    c.willAnswer({ 'elicitation/create': [accept({ name: 'Ana' }), accept({ color: 'red' })] });
    assert.equal(await c.text('test_input_required_result_multi_round', {}), 'Ana likes red');
    assert.equal(c.asked.length, 2);
    c.willAnswer({ 'elicitation/create': [accept({ ok: true })] });
    assert.equal(await c.text('test_input_required_result_request_state', {}), 'state-ok');
}

async function aPromptAsks(c) {
    c.willAnswer({ 'elicitation/create': [accept({ context: 'a garden' })] });
    const { messages } = await c.client.getPrompt({ name: 'test_input_required_result_prompt' });
    assert.deepEqual(messages, [says('Keep this context in mind: a garden')]);
}

/** Calls the tools that announce something. */
async function trigger(c, ...names) {
    for (const name of names) await c.text(`test_trigger_${name}`, {});
}

async function aStreamTellsWhatItWasAskedFor(c) {
    const filter = { toolsListChanged: true, resourceSubscriptions: [WATCHED] };
    const stream = await c.client.listen(filter);
    assert.deepEqual(stream.honoredFilter, filter);
    c.told.length = 0;
    await trigger(c, 'prompt_change', 'tool_change', 'resource_update');
    await c.waitUntilTold(['resources/updated', WATCHED]);
    assert.deepEqual(c.told, [['tools/list_changed', undefined], ['resources/updated', WATCHED]]);
    assert.equal((await c.status()).stats.subscriptions, 1);
    await stream.close();
    assert.equal(await stream.closed, 'local');
    // The tiny front notices by writing.
    while ((await c.status()).stats.subscriptions > 0) await (c.front === 'tiny' ? trigger(c, 'tool_change') : pause(20));
}

async function aSessionHearsOfLists(c) {
    c.told.length = 0;
    await trigger(c, 'tool_change', 'prompt_change');
    await c.waitUntilTold(['tools/list_changed', undefined]);
    await c.waitUntilTold(['prompts/list_changed', undefined]);
}

async function aSessionWatchesAResource(c) {
    c.told.length = 0;
    await c.client.subscribeResource({ uri: WATCHED });
    await trigger(c, 'resource_update');
    await c.waitUntilTold(['resources/updated', WATCHED]);
    await c.client.unsubscribeResource({ uri: WATCHED });
    c.told.length = 0;
    // What is told in the end shows that nothing came before it.
    await trigger(c, 'resource_update', 'tool_change');
    await c.waitUntilTold(['tools/list_changed', undefined]);
    assert.deepEqual(c.told, [['tools/list_changed', undefined]]);
}

async function aClientThatCanAnswerNothing(c) {
    assert.equal(await c.text('test_input_required_result_capabilities', {}), '0 of 3 could be asked');
    for (const [tool, args, needed] of [
        ['test_sampling', { prompt: '?' }, 'sampling'],
        ['test_elicitation', { message: '?' }, 'elicitation'],
        ['test_input_required_result_list_roots', {}, 'roots']
    ]) {
        if (c.modern) {
            const { code, data } = await refused(c.call(tool, args));
            assert.deepEqual([code, Object.keys(data.requiredCapabilities)], [-32021, [needed]]);
        } else {
            assert.equal((await c.call(tool, args)).isError, true);
        }
    }
}

export const STEPS = [
    negotiated,
    toolsAreListedInOrder,
    echoReturnsItsText,
    aCallWithoutArguments,
    fastCallOvertakesSlowOne,
    progressArrivesInOrder,
    logMessagesArriveInOrder,
    panicIsOneFailedCall,
    toolErrorIsAResult,
    unknownToolIsInvalidParams,
    structuredContentFitsItsSchema,
    aParameterThatAHeaderMirrors,
    anAnswerAfterTheStreamEnded,
    pingIsAnswered,
    cancellingFreesTheWorker,
    resourcesAreListed,
    resourcesAreRead,
    anUnknownResourceIsNamed,
    promptsAreListed,
    promptsAreFilledIn,
    argumentsAreCompleted,
    aPersonAnswers,
    aFormWithDefaults,
    aFormWithChoices,
    aModelAnswers,
    threeQuestionsOfOneCall,
    severalRounds,
    aPromptAsks,
    aStreamTellsWhatItWasAskedFor,
    aSessionHearsOfLists,
    aSessionWatchesAResource
];

export const STEPS_UNABLE = [negotiated, echoReturnsItsText, aClientThatCanAnswerNothing];
