"""What the scripts for both major versions of the Python SDK share: a connection as the steps see it, running steps, and reporting.

Steps speak to a `Connection`, whose results are what was on the wire: dictionaries with the names of the specification. So one step serves
both versions of the SDK, and a script is left with how its version is called.
"""

import argparse
import faulthandler
import os
import sys
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from mcp import types
from mcp.client.stdio import StdioServerParameters, stdio_client

from everything import HttpServer, ServerFailed

MODERN, LEGACY = "2026-07-28", "2025-11-25"
STEP_SECONDS_MAX = 60
# Both versions of the SDK terminate a server that is still there two seconds after its stdin was closed.
# A shell around the server keeps what the SDK does not show: the exit code.
STDIO_SCRIPT = '"$0" --stdio; echo $? >"$1"'


class ProtocolError(Exception):
    """A JSON-RPC error as the answer to a request."""

    def __init__(self, error):
        super().__init__(f"{error.code} {error.message}")
        self.code, self.message, self.data = error.code, error.message, error.data


def wire(model):
    """A model of the SDK as it was, or would be, on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


@dataclass
class Connection:
    """One connected client, what it was asked and told, and how it answers.

    A script fills in how its SDK does it: `call`, `fetch`, `read`, `prompt`, `complete`, `ping`, `log_from_now_on`,
    `subscribe`, `unsubscribe`, `abandon`, and `listen` where there is the stateless era.
    """

    transport: str
    era: str
    front: str | None
    asked: list = field(default_factory=list)
    replies: dict = field(default_factory=dict)
    logs: list = field(default_factory=list)
    told: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    async def text(self, tool, **arguments):
        """Calls a tool that has to answer with exactly one text block, and returns the text."""
        return only_text(await self.call(tool, arguments))

    async def status(self):
        return (await self.call("status"))["structuredContent"]

    async def wait_until_idle(self, seconds):
        """Waits until no call is active. An answer may arrive a moment before its worker is counted as free."""
        deadline = time.monotonic() + seconds
        while active := (await self.status())["active"]:
            check(time.monotonic() < deadline, f"{active} calls still active after {seconds} s")
            await anyio.sleep(0.02)

    async def error(self, tool, **arguments):
        """Calls a tool that has to be answered with a protocol error, and returns that."""
        return await refused(self.call(tool, arguments))

    def will_answer(self, **replies):
        """How the questions of the next call are answered: lists of results for `elicit`, `sample` and `roots`, used up one by one."""
        self.asked.clear()
        self.replies = {name: list(answers) for name, answers in replies.items()}

    def _answer(self, name, kind, params):
        self.asked.append((name, wire(params) if params else {}))
        if answers := self.replies.get(name):
            return kind.model_validate(answers.pop(0))
        return types.ErrorData(code=-32603, message=f"{name} was not expected")

    async def elicit(self, _context, params):
        return self._answer("elicit", types.ElicitResult, params)

    async def sample(self, _context, params):
        return self._answer("sample", types.CreateMessageResult, params)

    async def roots(self, _context):
        return self._answer("roots", types.ListRootsResult, None)

    async def on_log(self, params):
        self.logs.append((params.level, params.data))

    def on_message(self, notification):
        """Called with everything that came in and is no answer, as the SDK shows it: a fault, or a notification."""
        if isinstance(notification, Exception):
            self.faults.append(notification)
        else:
            said = wire(notification)
            self.told.append((said["method"], said.get("params", {})))

    async def wait_until_told(self, method, seconds=30):
        """Waits for a notification and returns its params."""
        with anyio.move_on_after(seconds):
            while True:
                for said, params in self.told:
                    if said == method:
                        return params
                await anyio.sleep(0.01)
        raise AssertionError(f"no {method} within {seconds} s, but {self.told}")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(got, wanted):
    check(got == wanted, f"got {got!r}, wanted {wanted!r}")


def only_text(result):
    """The text of a result that has to be one text block and no error."""
    check_equal([block["type"] for block in result["content"]], ["text"])
    check(not result.get("isError"), f"an error as the result: {result}")
    return result["content"][0]["text"]


async def refused(request):
    """Awaits a request that has to be answered with a protocol error, and returns that."""
    try:
        result = await request
    except ProtocolError as error:
        return error
    raise AssertionError(f"a result, not an error: {result}")


class Report:
    """Prints a line for each step as it ends, and the count at the end."""

    def __init__(self):
        self.passed = self.failed = 0

    def line(self, name, error=None):
        if error is None:
            self.passed += 1
            print(f"{name}: passed", flush=True)
        else:
            self.failed += 1
            print(f"{name}: FAILED ({describe(error)})", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def describe(error):
    """The first real error inside the groups that task groups wrap errors in, on one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:700]


async def run_step(report, name, step, *arguments):
    try:
        with anyio.fail_after(STEP_SECONDS_MAX):
            await step(*arguments)
    except Exception as error:
        report.line(name, error)
    else:
        report.line(name)


async def run_connection(report, label, connecting, connection, steps):
    """Connects, runs the steps, and disconnects, which has to go well too."""
    connected = False
    try:
        async with connecting:
            connected = True
            for step in steps:
                await run_step(report, f"{label}: {step.__name__}", step, connection)
    except Exception as error:
        report.line(f"{label}: " + ("disconnect" if connected else "connect"), error)
    if connected:
        faults = connection.faults
        report.line(f"{label}: nothing but messages", AssertionError(f"{faults}") if faults else None)


@asynccontextmanager
async def stdio_server(report, label, binary):
    """The streams of a client over stdio, to be entered. After the block, checks that the server left by itself and exited 0."""
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/stderr", "w+") as log:
        code = f"{folder}/code"
        yield stdio_client(StdioServerParameters(command="sh", args=["-c", STDIO_SCRIPT, binary, code]), errlog=log)
        error = None
        if not os.path.exists(code):
            log.seek(0)
            error = AssertionError(f"the server did not leave when its stdin was closed: {log.read()[-500:]}")
        elif (said := open(code).read().strip()) != "0":
            error = AssertionError(f"exit code {said}")
        report.line(f"{label}: the server leaves with its client", error)


def give_up(report, server, seconds):
    """The last resort against hanging: says where every thread is, and ends the process with the server."""
    print(f"still running after {seconds} s", flush=True)
    faulthandler.dump_traceback(all_threads=True)
    report.failed += 1
    report.end()
    if server is not None:
        server.kill()
    os._exit(1)


def main(description, run_stdio, run_http):
    """The command line of a script: `run_stdio(report, binary)`, then `run_http(report, server, front)` against one server."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--front", choices=["tiny", "guarded"], help="handed on to the server, for HTTP")
    parser.add_argument("--seconds", type=int, default=90, help="for everything together")
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.server)

    report = Report()
    http = None
    watchdog = threading.Timer(arguments.seconds, lambda: give_up(report, http, arguments.seconds))
    watchdog.daemon = True
    watchdog.start()

    anyio.run(run_stdio, report, binary)
    try:
        with HttpServer(binary, arguments.front) as http:
            anyio.run(run_http, report, http, arguments.front)
            http.stop()
        report.line("http: the server ends with exit code 0 after SIGTERM")
    except ServerFailed as error:
        report.line("http: the server", error)
    report.end()
    sys.exit(0 if report.failed == 0 else 1)
