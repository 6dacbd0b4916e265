"""Drives `everything` with the Python SDK, over stdio and HTTP, in both protocol eras.

The Rust tests speak the protocol as this project understands it; this is a client that others wrote, so it finds what both sides of
those tests misunderstand alike. Each step asserts the exact result. Run it with the Python that tests/clients/install.sh sets up.

The SDK settles the era when it connects: `mode="auto"` asks `server/discover` first and stays modern, `mode="legacy"` shakes hands with
`initialize`, and a version as the mode is used as it is, without asking.
"""

import argparse
import faulthandler
import json
import os
import sys
import tempfile
import threading
import time
import warnings
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client

from everything import HttpServer, ServerFailed

MODERN, LEGACY = "2026-07-28", "2025-11-25"
PROBES = ["echo", "sleep", "spin", "panic", "wedge", "print", "status", "progress", "state"]
STEP_SECONDS_MAX = 10
# The SDK terminates a server that is still there two seconds after its stdin was closed.
STDIO_EXIT_SECONDS_MAX = 1.9
# A shell around the server keeps what the SDK does not show: the exit code.
STDIO_SCRIPT = '"$0" --stdio; echo $? >"$1"'


@dataclass
class Connection:
    """One connected client, and what came in on it that was no message."""

    client: Client
    transport: str
    era: str
    front: str | None
    faults: list = field(default_factory=list)

    async def call(self, tool, **arguments):
        return await self.client.call_tool(tool, arguments)

    async def text(self, tool, **arguments):
        """Calls a tool that has to answer with exactly one text block, and returns the text."""
        result = await self.call(tool, **arguments)
        check_equal([block.type for block in result.content], ["text"])
        check_equal(bool(result.is_error), False)
        return result.content[0].text

    async def status(self):
        return (await self.call("status")).structured_content

    async def wait_until_idle(self, seconds):
        """Waits until no call is active. An answer may arrive a moment before its worker is counted as free."""
        deadline = time.monotonic() + seconds
        while active := (await self.status())["active"]:
            check(time.monotonic() < deadline, f"{active} calls still active after {seconds} s")
            await anyio.sleep(0.02)

    async def error(self, tool, **arguments):
        """Calls a tool that has to be answered with a protocol error, and returns that."""
        try:
            result = await self.call(tool, **arguments)
        except MCPError as error:
            return error.error
        raise AssertionError(f"a result, not an error: {result}")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def check_equal(got, wanted):
    check(got == wanted, f"got {got!r}, wanted {wanted!r}")


async def negotiated(c):
    check_equal(c.client.protocol_version, c.era)
    check(c.client.server_info is not None and c.client.server_info.name, "the server did not say who it is")
    check(c.client.server_capabilities.tools is not None, "the server declared no tools")
    if c.era == MODERN:
        versions = c.client.session.discover_result.supported_versions
        check(MODERN in versions, f"server/discover names {versions}")


async def tools_are_listed_in_order(c):
    pages = [await c.client.list_tools(cache_mode="bypass") for _ in range(2)]
    names = [[tool.name for tool in page.tools] for page in pages]
    check_equal(names[1], names[0])
    check_equal(names[0][0], "test_simple_text")
    check_equal([name for name in PROBES if name not in names[0]], [])
    check_equal(len(set(names[0])), len(names[0]))
    for tool in pages[0].tools:
        check(tool.description, f"{tool.name} has no description")
        check_equal(tool.input_schema.get("type"), "object")


async def echo_returns_its_text(c):
    for text in ["hello", "", 'tab\t, line\nbreak, "quotes", \\, \u2028', "héllo 世界 🦀", "x" * 100_000]:
        check_equal(await c.text("echo", text=text), text)


async def a_call_without_arguments(c):
    result = await c.client.call_tool("test_simple_text")
    check_equal([block.text for block in result.content], ["This is a simple text response for testing."])


async def five_calls_at_once(c):
    workers = (await c.status())["workers"]
    wanted, seen, done = min(5, workers), 0, []

    async def sleep(number):
        await c.text("sleep", ms=300)
        done.append(number)

    started = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(sleep, number)
        # Asked while all workers sleep: this is the urgent lane answering, too.
        while len(done) < 5 and seen < wanted:
            seen = max(seen, (await c.status())["active"])
            await anyio.sleep(0.01)
    took = time.monotonic() - started
    check_equal(sorted(done), list(range(5)))
    check_equal(seen, wanted)
    if workers >= 5:
        check(took < 1.2, f"five sleeps of 300 ms took {took:.2f} s")


async def fast_call_overtakes_slow_one(c):
    order = []

    async def slow():
        await c.text("sleep", ms=500)
        order.append("slow")

    async with anyio.create_task_group() as group:
        group.start_soon(slow)
        await anyio.sleep(0.1)
        await c.text("echo", text="fast")
        order.append("fast")
    check_equal(order, ["fast", "slow"])


async def progress_arrives_in_order(c):
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, total))

    result = await c.client.call_tool("progress", {"n": 3, "delay_ms": 20}, progress_callback=on_progress)
    check(not result.is_error and result.content, f"not a result with content: {result}")
    await anyio.sleep(0.05)  # the SDK runs each callback in a task of its own
    check_equal(seen, [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)])


async def state_is_fresh_for_each_call(c):
    check_equal([await c.text("state"), await c.text("state")], ["1", "1"])


async def panic_is_one_failed_call(c):
    error = await c.error("panic")
    check_equal(error.code, -32603)
    check("PANIC-SECRET" not in f"{error.message} {error.data}", f"the panic's text is on the wire: {error}")
    check_equal(await c.text("echo", text="still here"), "still here")


async def tool_error_is_a_result(c):
    result = await c.call("test_error_handling")
    check_equal(result.is_error, True)
    check(result.content[0].text, "no text for the model to read")


async def unknown_tool_is_invalid_params(c):
    check_equal((await c.error("no-such-tool")).code, -32602)


async def wrong_arguments_name_the_mistake(c):
    """The specification leaves it open which kind of error this is; the client has to be told in either."""
    try:
        result = await c.call("echo", text=7)
        check_equal(result.is_error, True)
    except MCPError as error:
        check_equal(error.code, -32602)


async def print_does_not_reach_the_wire(c):
    await c.text("print")
    check_equal(await c.text("echo", text="after"), "after")
    check_equal(c.faults, [])


async def status_describes_the_main_lane(c):
    await c.wait_until_idle(seconds=1)
    result = await c.call("status")
    status = result.structured_content
    check(isinstance(status["workers"], int) and status["workers"] >= 1, f"workers: {status}")
    check_equal(status["active"], 0)
    check_equal([json.loads(block.text) for block in result.content], [status])


async def ping_is_answered(c):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns that modern servers have no ping
        await c.client.send_ping()


async def cancelling_frees_the_worker(c):
    with anyio.move_on_after(0.3) as cancelled:
        await c.call("sleep", ms=30_000)
    check(cancelled.cancelled_caught, "a sleep of 30 s came back within 0.3 s")
    await c.wait_until_idle(seconds=5)


STEPS = [
    negotiated,
    tools_are_listed_in_order,
    echo_returns_its_text,
    a_call_without_arguments,
    five_calls_at_once,
    fast_call_overtakes_slow_one,
    progress_arrives_in_order,
    state_is_fresh_for_each_call,
    panic_is_one_failed_call,
    tool_error_is_a_result,
    unknown_tool_is_invalid_params,
    wrong_arguments_name_the_mistake,
    print_does_not_reach_the_wire,
    status_describes_the_main_lane,
    ping_is_answered,
    cancelling_frees_the_worker,
]
STEPS_WITHOUT_DISCOVERY = [tools_are_listed_in_order, echo_returns_its_text, panic_is_one_failed_call]


def applies(step, transport, era, front):
    """Ping went with the handshake. A modern client cancels over HTTP by leaving, which the tiny front can not notice in time; and of
    connections opened in a burst tiny_http may leave one unanswered for seconds, which is why it is not asked for five at once."""
    if step is ping_is_answered:
        return era == LEGACY
    if step is five_calls_at_once:
        return not (transport == "http" and front == "tiny")
    if step is cancelling_frees_the_worker:
        return not (transport == "http" and era == MODERN and front != "guarded")
    return True


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
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


async def run_step(report, name, step, *arguments):
    try:
        with anyio.fail_after(STEP_SECONDS_MAX):
            await step(*arguments)
    except Exception as error:
        report.line(name, error)
    else:
        report.line(name)


async def run_connection(report, label, target, transport, era, mode, front, steps):
    """Connects, runs the steps that apply, and disconnects, which has to go well too."""
    faults = []

    async def on_message(message):
        if isinstance(message, Exception):
            faults.append(message)

    connected = False
    try:
        # Both limits of the SDK hold while it connects: this one, and its own 10 s for server/discover.
        async with Client(target, mode=mode, message_handler=on_message, read_timeout_seconds=STEP_SECONDS_MAX) as client:
            connected = True
            connection = Connection(client, transport, era, front, faults)
            for step in steps:
                if applies(step, transport, era, front):
                    await run_step(report, f"{label}: {step.__name__}", step, connection)
    except Exception as error:
        report.line(f"{label}: " + ("disconnect" if connected else "connect"), error)
    if connected:
        report.line(f"{label}: nothing but messages", AssertionError(f"{faults}") if faults else None)


@asynccontextmanager
async def stdio_server(report, label, binary):
    """The target for a client over stdio. After the block, checks that the server left by itself and exited 0."""
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


async def run_stdio(report, binary):
    for label, era, mode, steps in connections("stdio"):
        async with stdio_server(report, label, binary) as target:
            await run_connection(report, label, target, "stdio", era, mode, None, steps)


async def run_http(report, server, front):
    for label, era, mode, steps in connections("http"):
        await run_connection(report, label, server.url, "http", era, mode, front, steps)


def connections(transport):
    return [
        (f"{transport} modern", MODERN, "auto", STEPS),
        (f"{transport} modern, not asking first", MODERN, MODERN, STEPS_WITHOUT_DISCOVERY),
        (f"{transport} legacy", LEGACY, "legacy", STEPS),
    ]


def give_up(report, server, seconds):
    """The last resort against hanging: says where every thread is, and ends the process with the server."""
    print(f"still running after {seconds} s", flush=True)
    faulthandler.dump_traceback(all_threads=True)
    report.failed += 1
    report.end()
    if server is not None:
        server.kill()
    os._exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--front", choices=["tiny", "guarded"], help="handed on to the server, for HTTP")
    parser.add_argument("--seconds", type=int, default=60, help="for everything together")
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


if __name__ == "__main__":
    main()
