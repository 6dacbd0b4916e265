"""Drives `everything` with the Python SDK, over stdio and HTTP, in both protocol eras.

The Rust tests speak the protocol as this project understands it; this is a client that others wrote, so it finds what both sides of
those tests misunderstand alike. Each step asserts the exact result. Run it with the Python that tests/clients/install.sh sets up.

The SDK settles the era when it connects: `mode="auto"` asks `server/discover` first and stays modern, `mode="legacy"` shakes hands with
`initialize`, and a version as the mode is used as it is, without asking.
"""

import warnings
from contextlib import asynccontextmanager

import anyio
from mcp import Client, MCPError, types
from mcp.client.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged

import steps_asking
import steps_changes
import steps_content
import steps_tools
from sdk import LEGACY, MODERN, STEP_SECONDS_MAX, Connection, ProtocolError, check, check_equal, wire
from sdk import main, run_connection, run_step, stdio_server


class Connection2(Connection):
    """A connection as version 2 of the SDK makes it."""

    client: Client
    log_level = None

    @asynccontextmanager
    async def connect(self, target, mode, able):
        """`able`: whether the client can be asked; one that can not declares no capabilities."""
        answers = {"elicitation_callback": self.elicit, "sampling_callback": self.sample, "list_roots_callback": self.roots}

        async def on_message(message):
            self.on_message(message)

        # Both limits of the SDK hold while it connects: this one, and its own 10 s for server/discover.
        async with Client(
            target,
            mode=mode,
            message_handler=on_message,
            logging_callback=self.on_log,
            read_timeout_seconds=STEP_SECONDS_MAX,
            **(answers if able else {}),
        ) as client:
            self.client = client
            yield

    async def call(self, tool, arguments=None, on_progress=None):
        meta = {"io.modelcontextprotocol/logLevel": self.log_level} if self.log_level else None
        return await request(self.client.call_tool(tool, arguments, progress_callback=on_progress, meta=meta))

    async def fetch(self, kind):
        method = {
            "tools": self.client.list_tools,
            "resources": self.client.list_resources,
            "resourceTemplates": self.client.list_resource_templates,
            "prompts": self.client.list_prompts,
        }[kind]
        page = await request(method(cache_mode="bypass"))
        check(page.get("nextCursor") is None, "there is another page")
        return page[kind]

    async def read(self, uri):
        return (await request(self.client.read_resource(uri, cache_mode="bypass")))["contents"]

    async def prompt(self, name, arguments=None):
        return (await request(self.client.get_prompt(name, arguments)))["messages"]

    async def complete(self, ref, name, value):
        kind = types.PromptReference if ref["type"] == "ref/prompt" else types.ResourceTemplateReference
        result = await request(self.client.complete(kind.model_validate(ref), {"name": name, "value": value}))
        return result["completion"]

    async def ping(self):
        await self.client.send_ping()

    async def log_from_now_on(self):
        """In the stateless era each request says whether it wants to hear."""
        if self.era == MODERN:
            self.log_level = "debug"
        else:
            await self.client.set_logging_level("debug")

    async def subscribe(self, uri):
        await request(self.client.subscribe_resource(uri))

    async def unsubscribe(self, uri):
        await request(self.client.unsubscribe_resource(uri))

    @asynccontextmanager
    async def listen(self, **wanted):
        async with self.client.listen(**wanted) as subscription:
            yield Changes(subscription)

    async def abandon(self, tool, arguments, seconds):
        """Stops waiting for a call, which is how this SDK cancels."""
        with anyio.move_on_after(seconds) as cancelled:
            await self.call(tool, arguments)
        check(cancelled.cancelled_caught, f"{tool} came back within {seconds} s")


class Changes:
    """What one listen stream tells."""

    def __init__(self, subscription):
        self.subscription = subscription
        self.honored = wire(subscription.honored)

    async def next(self):
        """The next change, by the name of its notification and with the URI if it has one."""
        event = await anext(self.subscription)
        return EVENTS[type(event)], getattr(event, "uri", None)


EVENTS = {
    ToolsListChanged: "tools/list_changed",
    PromptsListChanged: "prompts/list_changed",
    ResourcesListChanged: "resources/list_changed",
    ResourceUpdated: "resources/updated",
}


async def request(awaited):
    """What the SDK makes of the answer, as on the wire."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the SDK warns of what later revisions deprecated
            return wire(await awaited)
    except MCPError as error:
        raise ProtocolError(error.error) from None


async def negotiated(c):
    check_equal(c.client.protocol_version, c.era)
    check_equal(c.client.server_info.name, "everything")
    capabilities = wire(c.client.server_capabilities)
    check_equal([name for name in ["tools", "resources", "prompts", "completions"] if name not in capabilities], [])
    if c.era == MODERN:
        versions = c.client.session.discover_result.supported_versions
        check(MODERN in versions, f"server/discover names {versions}")


STEPS = [negotiated] + steps_tools.ALL + steps_content.ALL + steps_asking.ALL + steps_changes.ALL
STEPS_UNABLE = [
    steps_tools.tools_are_listed_in_order,
    steps_tools.echo_returns_its_text,
    steps_tools.panic_is_one_failed_call,
    steps_asking.a_client_that_can_answer_nothing,
]


def applies(step, transport, era, front):
    """Ping went with the handshake. A modern client cancels over HTTP by leaving, which the tiny front can not notice in time; and of
    connections opened in a burst tiny_http may leave one unanswered for seconds, which is why it is not asked for five at once."""
    if step is steps_tools.ping_is_answered:
        return era == LEGACY
    if step in steps_changes.ON_STREAMS:
        return era == MODERN
    if step in steps_changes.IN_SESSIONS:
        return era == LEGACY
    if step is steps_tools.five_calls_at_once:
        return not (transport == "http" and front == "tiny")
    if step is steps_tools.cancelling_frees_the_worker:
        return not (transport == "http" and era == MODERN and front != "guarded")
    return True


async def run_one(report, label, target, transport, era, mode, front, able):
    connection = Connection2(transport, era, front)
    steps = STEPS if able else STEPS_UNABLE
    steps = [step for step in steps if applies(step, transport, era, front)]
    await run_connection(report, label, connection.connect(target, mode, able), connection, steps)


async def run_stdio(report, binary):
    for label, era, mode, able in connections("stdio"):
        async with stdio_server(report, label, binary) as target:
            await run_one(report, label, target, "stdio", era, mode, None, able)


async def run_http(report, server, front):
    for label, era, mode, able in connections("http"):
        await run_one(report, label, server.url, "http", era, mode, front, able)
    await run_step(report, "http: a server that ends says so to whoever listens", drain_ends_a_stream, server, front)


async def drain_ends_a_stream(server, front):
    """The end of a drained stream is a result; the SDK raises when a stream breaks off without one."""
    c = Connection2("http", MODERN, front)
    async with c.connect(server.url, "auto", True), c.listen(tools_list_changed=True) as changes:
        server.ask_to_end()
        check_equal([change async for change in changes.subscription], [])


def connections(transport):
    return [
        (f"{transport} modern", MODERN, "auto", True),
        (f"{transport} modern, not asking first, unable to answer", MODERN, MODERN, False),
        (f"{transport} legacy", LEGACY, "legacy", True),
        (f"{transport} legacy, unable to answer", LEGACY, "legacy", False),
    ]


if __name__ == "__main__":
    main(__doc__.splitlines()[0], run_stdio, run_http)
