"""What becomes of handshake-era clients when their server restarts, or when several instances stand behind one address.

Runs with either major version of the Python SDK, whose clients never begin a session anew. Several instances are behind nginx, which gives each request to the
next one.
"""

import argparse
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import mcp

from everything import HttpServer
from nginx import Nginx, free_port

STEP_SECONDS_MAX = 60
IS_FIRST = not hasattr(mcp, "Client")
# Whoever knows the modern era as well needs no choice there.
MODES = ["legacy"] if IS_FIRST else ["legacy", "auto"]
BALANCED = """
upstream instances {{ server {}; server {}; }}
server {{ listen 8081; location /tools/ {{ proxy_pass http://instances/; proxy_set_header Host localhost; }} }}
"""


@asynccontextmanager
async def connected(url, mode):
    """A function that calls a tool, in either version of the SDK."""
    async with AsyncExitStack() as stack:
        if IS_FIRST:
            from mcp.client.streamable_http import streamable_http_client

            read, write, *_ = await stack.enter_async_context(streamable_http_client(url))
            client = await stack.enter_async_context(mcp.ClientSession(read, write))
            await client.initialize()
        else:
            client = await stack.enter_async_context(mcp.Client(url, mode=mode, read_timeout_seconds=60))

        async def call(tool, **arguments):
            return await client.call_tool(tool, arguments)

        yield call


async def echoes(call):
    result = await call("echo", text="é 漢")
    assert result.content[0].text == "é 漢", result


async def goes_on_after_a_restart(binary, sessions, mode):
    options = ["--sessions", sessions]
    with HttpServer(binary, arguments=options) as server:
        address = server.url.removeprefix("http://").removesuffix("/mcp")
        async with connected(server.url, mode) as call:
            await echoes(call)
            server.kill()
            with HttpServer(binary, address=address, arguments=options):
                await echoes(call)
                await echoes(call)


async def is_lost_by_a_restart(binary, sessions, mode):
    """What the others are for: without them such a client calls in vain."""
    try:
        await goes_on_after_a_restart(binary, sessions, mode)
    except Exception:
        return
    raise AssertionError("it goes on, and the choice of sessions is none")


async def done(url, mode):
    async with connected(url, mode) as call:
        status = await call("status")
        content = status.structuredContent if IS_FIRST else status.structured_content
        return sum(lane["done"] for lane in content["stats"]["lanes"] if lane["name"] == "main")


async def is_served_by_several_instances(binary, sessions, mode):
    options = ["--sessions", sessions]
    with HttpServer(binary, arguments=options) as one, HttpServer(binary, arguments=options) as other:
        hosts = [server.url.removeprefix("http://").removesuffix("/mcp") for server in (one, other)]
        with Nginx("nginx", BALANCED.format(*hosts), hosts[0], free_port()) as nginx:
            async with connected(f"http://127.0.0.1:{nginx.port}/tools/mcp", mode) as call:
                for _ in range(8):
                    await echoes(call)
        for server in (one, other):
            assert await done(server.url, mode) >= 2, "all calls went to the other instance"


def steps():
    for mode in MODES:
        for sessions in ("adopt", "stateless"):
            yield goes_on_after_a_restart, sessions, mode
        yield is_served_by_several_instances, "stateless", mode
    yield is_lost_by_a_restart, "kept", "legacy"
    if not IS_FIRST:
        yield goes_on_after_a_restart, "kept", "auto"
        yield is_served_by_several_instances, "kept", "auto"


async def main(binary):
    passed = failed = 0
    for run, sessions, mode in steps():
        name = f"{run.__name__}, {mode}, sessions {sessions}"
        try:
            with anyio.fail_after(STEP_SECONDS_MAX):
                await run(binary, sessions, mode)
        except BaseException as error:
            failed += 1
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            print(f"{name}: FAILED ({' '.join(f'{type(error).__name__}: {error}'.split())[:500]})", flush=True)
        else:
            passed += 1
            print(f"{name}: passed", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    sys.exit(0 if anyio.run(main, os.path.abspath(parser.parse_args().server)) == 0 else 1)
