"""Drives `everything` with FastMCP's client, over HTTP, over stdio, and through the bridge mcp-remote.

FastMCP and its adapters are what most programs in Python call servers with. With `--node` and `--remote` the same steps go through mcp-remote,
the bridge for clients that know only stdio.
"""

import argparse
import asyncio
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError

from everything import HttpServer

STEP_SECONDS_MAX = 60
ODD = "é 漢 😀 a\u2028b\u2029c\u0085d \\ \" \x7f"


def check_equal(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {str(got)[:300]!r}, wanted {str(wanted)[:300]!r}")


async def call(client, tool, **arguments):
    return (await client.call_tool(tool, arguments)).content[0].text


async def lists(client):
    names = {tool.name for tool in await client.list_tools()}
    check_equal({"echo", "sleep", "progress", "status"} - names, set())


async def echoes_unicode(client):
    check_equal(await call(client, "echo", text=ODD), ODD)


async def echoes_a_megabyte(client):
    text = "0123456789abcdé\n" * 55_000  # as one event, below the 1 MiB that its SDK takes
    check_equal(await call(client, "echo", text=text) == text, True)


async def waits_for_a_slow_answer(client):
    check_equal(await call(client, "sleep", ms=1500), "slept 1500 ms")


async def sees_progress(client):
    seen = []

    async def on_progress(progress, total, _message):
        seen.append((progress, total))

    await client.call_tool("progress", {"n": 3, "delay_ms": 20}, progress_handler=on_progress)
    check_equal(seen, [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)])


async def reads_an_error(client):
    try:
        await call(client, "sleep", ms="soon")
    except ToolError as error:
        check_equal("at `/ms`" in str(error), True)
    else:
        raise AssertionError("a text is no number of milliseconds")


async def reads_a_resource(client):
    contents = await client.read_resource("test://static-text")
    check_equal(bool(contents[0].text), True)


async def active(client):
    return (await client.call_tool("status", {})).structured_content["active"]


async def until_active(client, wanted):
    while (now := await active(client)) != wanted:
        await asyncio.sleep(0.02)
    return now


async def cancels(client):
    """Where the modern era is spoken, what is given up ends its stream, which is cancellation."""
    call = asyncio.ensure_future(client.call_tool("sleep", {"ms": 60_000}))
    await until_active(client, 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until_active(client, 0)


STEPS = [
    lists,
    echoes_unicode,
    echoes_a_megabyte,
    waits_for_a_slow_answer,
    sees_progress,
    reads_an_error,
    reads_a_resource,
    cancels,
]


class Report:
    passed = failed = 0

    async def step(self, name, run):
        try:
            await asyncio.wait_for(run, STEP_SECONDS_MAX)
        except BaseException as error:  # an exception group, or a cancellation of the library's own
            self.failed += 1
            print(f"{name}: FAILED ({' '.join(f'{type(error).__name__}: {error}'.split())[:500]})", flush=True)
        else:
            self.passed += 1
            print(f"{name}: passed", flush=True)

    async def all(self, label, client, steps=STEPS):
        async with client:
            for step in steps:
                await self.step(f"{label}: {step.__name__}", step(client))


async def after_a_restart(report, label, binary, make):
    """The server goes and comes back at the same address, and the client that was connected calls again."""
    with HttpServer(binary) as server:
        address = server.url.removeprefix("http://").removesuffix("/mcp")
        async with make(server.url) as client:
            await report.step(f"{label}: before a restart", echoes_unicode(client))
            server.kill()
            with HttpServer(binary, address=address):
                await report.step(f"{label}: goes on after a restart", echoes_unicode(client))


async def main(arguments):
    report = Report()
    binary = os.path.abspath(arguments.server)
    await report.all("FastMCP, stdio", Client(StdioTransport(binary, ["--stdio"])))
    with HttpServer(binary) as server:
        await report.all("FastMCP, http", Client(server.url))
        if arguments.remote:
            # It turns what is given up into a notification, which without a session belongs to nobody.
            steps = [step for step in STEPS if step is not cancels]
            await report.all("mcp-remote", Client(bridge(arguments, server.url)), steps)
        server.stop()
    await after_a_restart(report, "FastMCP, http", binary, Client)
    print(f"{report.passed} passed, {report.failed} failed")
    return report.failed


def bridge(arguments, url):
    return StdioTransport(arguments.node, [arguments.remote, url, "--allow-http"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--node", default="node", help="the Node that runs mcp-remote")
    parser.add_argument("--remote", help="the script of mcp-remote; without it the bridge is left out")
    failed = asyncio.run(main(parser.parse_args()))
    sys.exit(0 if failed == 0 else 1)
