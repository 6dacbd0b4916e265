// Drives `everything` with the client of the AI SDK, in a version that acts only on events named `message` and in one of today.
//
//   node tests/clients/ai_sdk.mjs --server target/release/examples/everything [--front tiny|guarded]

import { strict as assert } from 'node:assert';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { startServer, within } from './everything.mjs';

const cache = resolve(process.env.MCP_CLIENTS_CACHE ?? join(import.meta.dirname, '../../.cache/clients'));
const require = createRequire(join(cache, 'more/'));

const STEP_SECONDS_MAX = 60;
const ODD = 'é 漢 😀 a\u2028b\u2029c\u0085d \\ " \x7f';
// The earlier one knows only the handshake, and gives up its session for good when the server has forgotten it.
const VERSIONS = [
    { name: 'ai-sdk-mcp-before', modern: false },
    { name: 'ai-sdk-mcp-after', modern: true }
];

let passed = 0;
let failed = 0;

async function step(name, run) {
    try {
        await within(STEP_SECONDS_MAX, 'the step ends', run());
        passed += 1;
        console.log(`${name}: passed`);
    } catch (error) {
        failed += 1;
        console.log(`${name}: FAILED (${String(error?.stack ?? error).replaceAll(/\s+/g, ' ').slice(0, 500)})`);
    }
}

async function connect(name, url, faults) {
    const { createMCPClient } = await import(require.resolve(name));
    return createMCPClient({ transport: { type: 'http', url }, onUncaughtError: (error) => faults.push(error.message) });
}

/** Calls a tool, and returns the text of its answer. */
async function call(client, tool, args, options = {}) {
    const tools = await client.tools();
    const result = await tools[tool].execute(args, { toolCallId: 'it', messages: [], ...options });
    return result.content[0].text;
}

async function active(client) {
    const tools = await client.tools();
    return (await tools.status.execute({}, { toolCallId: 'it', messages: [] })).structuredContent.active;
}

const STEPS = {
    'lists tools': async (client) => {
        const tools = Object.keys(await client.tools());
        for (const name of ['echo', 'sleep', 'progress', 'status']) assert(tools.includes(name), name);
    },
    'echoes unicode': async (client) => assert.equal(await call(client, 'echo', { text: ODD }), ODD),
    'echoes a megabyte': async (client) => {
        const text = '0123456789abcdé\n'.repeat(62_500);
        assert.equal((await call(client, 'echo', { text })) === text, true);
    },
    // An answer that comes as an event, because it takes longer than `stream_after`.
    'waits for a slow answer': async (client) => assert.equal(await call(client, 'sleep', { ms: 1500 }), 'slept 1500 ms'),
    'reads an error': async (client) => {
        const said = await call(client, 'sleep', { ms: 'soon' }).catch((error) => error.message);
        assert.match(said, /`\/ms`|Invalid arguments/);
    },
    'reads a resource': async (client) => {
        const { contents } = await client.readResource({ uri: 'test://static-text' });
        assert.equal(typeof contents[0].text, 'string');
    },
    cancels: async (client, { modern }) => {
        const abort = new AbortController();
        // The earlier one only stops to wait: the call goes on to its end.
        const ms = modern ? 60_000 : 2000;
        const waiting = call(client, 'sleep', { ms }, { abortSignal: abort.signal }).catch((error) => error);
        while ((await active(client)) < 1);
        abort.abort();
        const said = await waiting;
        assert(said instanceof Error, String(said));
        while ((await active(client)) > 0);
    }
};

async function drive(binary, front, version) {
    const label = version.name;
    const faults = [];
    let server = await startServer(binary, front);
    try {
        const client = await connect(version.name, server.url, faults);
        for (const [name, run] of Object.entries(STEPS)) await step(`${label}: ${name}`, () => run(client, version));
        await step(`${label}: nothing but messages`, async () => assert.deepEqual(faults, []));
        const address = new URL(server.url).host;
        server.kill();
        server = await startServer(binary, front, address);
        await step(`${label}: after a restart`, async () => {
            const again = version.modern ? client : await connect(version.name, server.url, faults);
            assert.equal(await call(again, 'echo', { text: ODD }), ODD);
            await again.close();
        });
        await server.stop();
    } finally {
        server.kill();
    }
}

const { values } = parseArgs({ options: { server: { type: 'string' }, front: { type: 'string' } } });
for (const version of VERSIONS) await drive(resolve(values.server), values.front, version);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
