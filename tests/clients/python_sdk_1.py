"""Drives `everything` with the last 1.x of the Python SDK, over stdio and HTTP: what is installed in most places for now.

It knows only the handshake era, and its client is a session on two streams. The steps are those of python_sdk.py, run with the Python of
their own environment that tests/clients/install.sh sets up.
"""

from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client

import steps_asking
import steps_changes
import steps_content
import steps_tools
from sdk import LEGACY, STEP_SECONDS_MAX, Connection, ProtocolError, check, check_equal, main, run_connection, stdio_server, wire


class Connection1(Connection):
    """A connection as version 1 of the SDK makes it."""

    session: ClientSession
    initialized: types.InitializeResult

    @asynccontextmanager
    async def connect(self, target, able):
        """`able`: whether the client can be asked; one that can not declares no capabilities."""
        answers = {"elicitation_callback": self.elicit, "sampling_callback": self.sample, "list_roots_callback": self.roots}

        async def on_message(message):
            # Questions come here as well, after the callbacks answered them.
            if isinstance(message, types.ServerNotification):
                self.on_message(message.root)
            elif isinstance(message, Exception):
                self.on_message(message)

        async with target as (read, write, *_):
            async with ClientSession(
                read,
                write,
                read_timeout_seconds=timedelta(seconds=STEP_SECONDS_MAX),
                logging_callback=self.on_log,
                message_handler=on_message,
                **(answers if able else {}),
            ) as session:
                self.session = session
                self.initialized = await session.initialize()
                yield

    async def call(self, tool, arguments=None, on_progress=None):
        return await request(self.session.call_tool(tool, arguments, progress_callback=on_progress))

    async def fetch(self, kind):
        method = {
            "tools": self.session.list_tools,
            "resources": self.session.list_resources,
            "resourceTemplates": self.session.list_resource_templates,
            "prompts": self.session.list_prompts,
        }[kind]
        page = await request(method())
        check(page.get("nextCursor") is None, "there is another page")
        return page[kind]

    async def read(self, uri):
        return (await request(self.session.read_resource(uri)))["contents"]

    async def prompt(self, name, arguments=None):
        return (await request(self.session.get_prompt(name, arguments)))["messages"]

    async def complete(self, ref, name, value):
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        result = await request(self.session.complete(kind.model_validate(ref), {"name": name, "value": value}))
        return result["completion"]

    async def ping(self):
        await self.session.send_ping()

    async def log_from_now_on(self):
        await self.session.set_logging_level("debug")

    async def subscribe(self, uri):
        await request(self.session.subscribe_resource(uri))

    async def unsubscribe(self, uri):
        await request(self.session.unsubscribe_resource(uri))

    async def abandon(self, tool, arguments, seconds):
        """Cancels a call. This SDK has no method for that: the notification is written by hand, and no answer follows it."""
        number = self.session._request_id  # ids count up
        cancelled = types.CancelledNotificationParams(requestId=number, reason="the test")
        notification = types.CancelledNotification(method="notifications/cancelled", params=cancelled)
        async with anyio.create_task_group() as group:
            group.start_soon(self.call, tool, arguments)
            while self.session._request_id == number:  # or the first question for the status would take that id
                await anyio.sleep(0)
            with anyio.fail_after(30 * seconds):
                while (await self.status())["active"] != 1:
                    await anyio.sleep(0.02)
            await self.session.send_notification(types.ClientNotification(notification))
            await self.wait_until_idle(seconds=30)
            group.cancel_scope.cancel()


async def request(awaited):
    """What the SDK makes of the answer, as on the wire."""
    try:
        return wire(await awaited)
    except McpError as error:
        raise ProtocolError(error.error) from None


async def initialized(c):
    result = c.initialized
    check_equal((result.protocolVersion, result.serverInfo.name), (LEGACY, "everything"))
    capabilities = wire(result.capabilities)
    wanted = ["tools", "resources", "prompts", "completions", "logging"]
    check_equal([name for name in wanted if name not in capabilities], [])


STEPS = [initialized] + steps_tools.ALL + steps_content.ALL + steps_asking.ALL + steps_changes.IN_SESSIONS
STEPS_UNABLE = [steps_asking.a_client_that_can_answer_nothing]


def steps(transport, front, able):
    """Of connections opened in a burst tiny_http may leave one unanswered for seconds, so it is not asked for five at once."""
    if not able:
        return STEPS_UNABLE
    burst = not (transport == "http" and front == "tiny")
    return [step for step in STEPS if burst or step is not steps_tools.five_calls_at_once]


async def run_stdio(report, binary):
    for label, able in [("stdio", True), ("stdio, unable to answer", False)]:
        async with stdio_server(report, label, binary) as target:
            connection = Connection1("stdio", LEGACY, None)
            await run_connection(report, label, connection.connect(target, able), connection, steps("stdio", None, able))


async def run_http(report, server, front):
    for label, able in [("http", True), ("http, unable to answer", False)]:
        connection = Connection1("http", LEGACY, front)
        target = streamable_http_client(server.url)
        await run_connection(report, label, connection.connect(target, able), connection, steps("http", front, able))


if __name__ == "__main__":
    main(__doc__.splitlines()[0], run_stdio, run_http)
