// Drives `everything` with the TypeScript SDK, over stdio and HTTP, in both protocol eras.
//
// A second client that others wrote, beside the Python SDK; its steps are those of tests/clients/typescript_steps.mjs, and each asserts
// the exact result. Run it with the Node that tests/clients/install.sh sets up, or any from 20 on:
//
//   node tests/clients/typescript_sdk.mjs --server target/release/examples/everything [--front tiny|guarded] [--seconds N]

import { strict as assert } from 'node:assert';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

import { startServer, within } from './everything.mjs';
import { STEPS, STEPS_UNABLE, pause } from './typescript_steps.mjs';

const cache = resolve(process.env.MCP_CLIENTS_CACHE ?? join(import.meta.dirname, '../../.cache/clients'));
const require = createRequire(join(cache, 'npm/'));
const { Client, StreamableHTTPClientTransport } = require('@modelcontextprotocol/client');
const { StdioClientTransport } = require('@modelcontextprotocol/client/stdio');

const MODERN = '2026-07-28';
const LEGACY = '2025-11-25';
const STEP_SECONDS_MAX = 60;
// A shell around the server keeps what the SDK does not show: the exit code.
const STDIO_SCRIPT = '"$0" --stdio; echo $? >"$1"';

const CONNECTIONS = [
    { name: 'modern', era: MODERN, mode: 'auto', able: true },
    { name: 'modern, pinned, unable to answer', era: MODERN, mode: { pin: MODERN }, able: false },
    { name: 'legacy', era: LEGACY, mode: 'legacy', able: true },
    { name: 'legacy, unable to answer', era: LEGACY, mode: 'legacy', able: false }
];

/** Prints a line for each step as it ends, and the count at the end. */
class Report {
    passed = 0;
    failed = 0;

    line(name, error) {
        if (error === undefined) {
            this.passed += 1;
            console.log(`${name}: passed`);
        } else {
            this.failed += 1;
            const why = `${error?.name ?? 'Error'}: ${error?.message ?? error}`;
            console.log(`${name}: FAILED (${why.replaceAll(/\s+/g, ' ').slice(0, 700)})`);
        }
    }

    async step(name, run) {
        try {
            await within(STEP_SECONDS_MAX, 'the step ends', run());
            this.line(name);
        } catch (error) {
            this.line(name, error);
        }
    }

    end() {
        console.log(`${this.passed} passed, ${this.failed} failed`);
    }
}

/** One client, what it was asked and told, and how it answers. */
class Connection {
    asked = [];
    replies = {};
    logs = [];
    told = [];
    faults = [];

    constructor({ era, mode, able }, transport, front) {
        Object.assign(this, { era, able, transport, front, modern: era === MODERN });
        const capabilities = able ? { elicitation: { form: {} }, sampling: {}, roots: {} } : {};
        this.client = new Client({ name: 'typescript_sdk', version: '1' }, { capabilities, versionNegotiation: { mode } });
        this.client.onerror = (error) => this.faults.push(error);
        this.client.setNotificationHandler('notifications/message', ({ params }) => void this.logs.push([params.level, params.data]));
        for (const method of ['tools/list_changed', 'prompts/list_changed', 'resources/list_changed', 'resources/updated']) {
            this.client.setNotificationHandler(`notifications/${method}`, ({ params }) => void this.told.push([method, params?.uri]));
        }
        if (able) {
            for (const method of ['elicitation/create', 'sampling/createMessage', 'roots/list']) {
                this.client.setRequestHandler(method, ({ params }) => this.answer(method, params));
            }
        }
    }

    /** How the questions of the next call are answered: lists of results by method, used up one by one. */
    willAnswer(replies) {
        this.asked.length = 0;
        this.replies = replies;
    }

    answer(method, params) {
        this.asked.push([method, params]);
        const reply = this.replies[method]?.shift();
        if (reply === undefined) throw new Error(`${method} was not expected`);
        return reply;
    }

    call(name, args, options) {
        return this.client.callTool({ name, arguments: args }, options);
    }

    /** Calls a tool that has to answer with exactly one text block, and returns the text. */
    async text(name, args, options) {
        const result = await this.call(name, args, options);
        assert.deepEqual([result.content.map((block) => block.type), result.isError ?? false], [['text'], false], JSON.stringify(result));
        return result.content[0].text;
    }

    async status() {
        return (await this.call('status', {})).structuredContent;
    }

    /** Waits until no call is active. An answer may arrive a moment before its worker is counted as free. */
    async waitUntilIdle() {
        while ((await this.status()).active > 0) await pause(20);
    }

    /** Waits until this was told. */
    async waitUntilTold([method, uri]) {
        while (!this.told.some((told) => told[0] === method && told[1] === uri)) await pause(10);
    }
}

/** Connects, runs the steps that apply, and disconnects, which has to go well too. */
async function runConnection(report, label, connection, transport) {
    try {
        await within(2 * STEP_SECONDS_MAX, 'it connects', connection.client.connect(transport));
    } catch (error) {
        return report.line(`${label}: connect`, error);
    }
    for (const step of connection.able ? STEPS : STEPS_UNABLE) {
        if (applies(step.name, connection)) await report.step(`${label}: ${step.name}`, () => step(connection));
    }
    await report.step(`${label}: nothing but messages`, async () => assert.deepEqual(connection.faults.map(String), []));
    await report.step(`${label}: disconnect`, async () => {
        if (!connection.modern && transport.terminateSession) await transport.terminateSession();
        await connection.client.close();
    });
}

/** Ping went with the handshake; a modern client cancels over HTTP by leaving, which the tiny front can not notice in time. */
function applies(step, { modern, transport, front }) {
    if (step === 'pingIsAnswered') return !modern;
    if (step === 'aStreamTellsWhatItWasAskedFor') return modern;
    if (step.startsWith('aSession')) return !modern;
    if (step === 'cancellingFreesTheWorker') return !(transport === 'http' && modern && front !== 'guarded');
    return true;
}

async function runStdio(report, binary) {
    for (const how of CONNECTIONS) {
        const label = `stdio ${how.name}`;
        const folder = mkdtempSync(join(tmpdir(), 'mcp-'));
        const code = join(folder, 'code');
        const transport = new StdioClientTransport({ command: 'sh', args: ['-c', STDIO_SCRIPT, binary, code], stderr: 'ignore' });
        await runConnection(report, label, new Connection(how, 'stdio'), transport);
        await report.step(`${label}: the server leaves with its client`, async () => {
            assert.ok(existsSync(code), 'the server did not leave when its stdin was closed');
            assert.equal(readFileSync(code, 'utf8').trim(), '0');
        });
        rmSync(folder, { recursive: true });
    }
}

async function runHttp(report, server, front) {
    for (const how of CONNECTIONS) {
        const transport = new StreamableHTTPClientTransport(new URL(server.url));
        await runConnection(report, `http ${how.name}`, new Connection(how, 'http', front), transport);
    }
}

const { values } = parseArgs({
    options: { server: { type: 'string' }, front: { type: 'string' }, seconds: { type: 'string', default: '90' } }
});
assert.ok(values.server, '--server is missing: the `everything` binary');
const binary = resolve(values.server);
const report = new Report();
let server;
setTimeout(() => {
    console.log(`still running after ${values.seconds} s`);
    report.failed += 1;
    report.end();
    server?.kill();
    process.exit(1);
}, Number(values.seconds) * 1000).unref();

await runStdio(report, binary);
await report.step('http: the server starts', async () => (server = await startServer(binary, values.front)));
if (server) {
    await runHttp(report, server, values.front);
    await report.step('http: the server ends with exit code 0 after SIGTERM, and says so to whoever listens', async () => {
        const { client } = new Connection(CONNECTIONS[0], 'http', values.front);
        await client.connect(new StreamableHTTPClientTransport(new URL(server.url)));
        const stream = await client.listen({ toolsListChanged: true });
        await server.stop();
        assert.equal(await stream.closed, 'graceful');
    });
    server.kill();
}
report.end();
process.exit(report.failed === 0 ? 0 : 1);
