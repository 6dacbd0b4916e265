// Starts and stops the reference server for the scripts that run on Node, as everything.py does for those in Python.
//
// It knows nothing of the protocol.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const LISTENING = /listening on (http:\/\/127\.0\.0\.1:\d+\/mcp)/;
const START_SECONDS_MAX = 60;
const STOP_SECONDS_MAX = 60;

/** Starts `everything --http ADDRESS`. The result has `url`, `kill()`, and `stop()`, which fails unless SIGTERM ends it with exit code 0. */
export async function startServer(binary, front, address = '127.0.0.1:0') {
    const options = front ? ['--front', front] : [];
    const child = spawn(binary, ['--http', address, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = new Promise((resolve, reject) => {
        child.once('exit', (code, signal) => resolve(code ?? signal));
        child.once('error', reject);
    });
    ended.catch(() => {}); // whoever waits for it hears of it
    const kill = () => child.kill('SIGKILL');
    const lastWords = [];
    const said = () => lastWords.map((line) => `\n    | ${line}`).join('');
    // Read to its end, or a talkative server blocks on a full pipe.
    const listening = new Promise((resolve) => {
        createInterface({ input: child.stderr }).on('line', (line) => {
            lastWords.push(line);
            lastWords.splice(0, lastWords.length - 20);
            const found = LISTENING.exec(line);
            if (found) resolve(found[1]);
        });
    });
    const early = ended.then((code) => Promise.reject(new Error(`the server ended with ${code} before it listened${said()}`)));
    const url = await within(START_SECONDS_MAX, 'the server listens', Promise.race([listening, early])).catch((error) => {
        kill();
        throw error;
    });
    early.catch(() => {});
    const stop = async () => {
        child.kill('SIGTERM');
        const code = await within(STOP_SECONDS_MAX, 'the server ends after SIGTERM', ended);
        if (code !== 0) throw new Error(`exit code ${code} after SIGTERM, not 0${said()}`);
    };
    return { url, kill, stop };
}

/** What the promise comes to, or an error if it does not in time. */
export function within(seconds, what, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not within ${seconds} s: ${what}`)), seconds * 1000);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
