"""Steps about tools: what is listed, what calls answer, and what the server does with calls."""

import json
import time

import anyio

from sdk import ProtocolError, check, check_equal

PROBES = ["echo", "sleep", "spin", "panic", "wedge", "print", "status", "progress", "state"]


async def tools_are_listed_in_order(c):
    pages = [await c.fetch("tools") for _ in range(2)]
    names = [[tool["name"] for tool in page] for page in pages]
    check_equal(names[1], names[0])
    check_equal(names[0][0], "test_simple_text")
    check_equal([name for name in PROBES if name not in names[0]], [])
    check_equal(len(set(names[0])), len(names[0]))
    for tool in pages[0]:
        check(tool.get("description"), f"{tool['name']} has no description")
        check_equal(tool["inputSchema"].get("type"), "object")


async def echo_returns_its_text(c):
    for text in ["hello", "", 'tab\t, line\nbreak, "quotes", \\, \u2028', "héllo 世界 🦀", "x" * 100_000]:
        check_equal(await c.text("echo", text=text), text)


async def a_call_without_arguments(c):
    result = await c.call("test_simple_text")
    check_equal([block["text"] for block in result["content"]], ["This is a simple text response for testing."])


async def content_of_every_kind(c):
    result = await c.call("test_multiple_content_types")
    check_equal([block["type"] for block in result["content"]], ["text", "image", "resource"])
    check_equal(result["content"][2]["resource"]["text"], '{"test":"data","value":123}')
    (audio,) = (await c.call("test_audio_content"))["content"]
    check_equal((audio["type"], audio["mimeType"], audio["data"][:6]), ("audio", "audio/wav", "UklGRi"))


# Long enough that on a busy machine the others begin, or end, meanwhile.
SLEEP_MS = 2000


async def five_calls_at_once(c):
    workers = (await c.status())["workers"]
    wanted, seen, done = min(5, workers), 0, []

    async def sleep(number):
        await c.text("sleep", ms=SLEEP_MS)
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
        check(took < 4 * SLEEP_MS / 1000, f"five sleeps of {SLEEP_MS} ms took {took:.2f} s")


async def fast_call_overtakes_slow_one(c):
    order = []

    async def slow():
        await c.text("sleep", ms=SLEEP_MS)
        order.append("slow")

    async with anyio.create_task_group() as group:
        group.start_soon(slow)
        await anyio.sleep(0.1)
        await c.text("echo", text="fast")
        order.append("fast")
    check_equal(order, ["fast", "slow"])


async def callbacks(seen, count):
    """The SDK may run each callback in a task of its own, which has to get its turn after the answer came."""
    with anyio.move_on_after(4):
        while len(seen) < count:
            await anyio.sleep(0.01)


async def progress_arrives_in_order(c):
    seen = []

    async def on_progress(progress, total, message):
        seen.append((progress, total, message))

    result = await c.call("progress", {"n": 3, "delay_ms": 20}, on_progress=on_progress)
    check_equal(result["content"][0]["text"], "3 steps")
    await callbacks(seen, 3)
    check_equal(seen, [(1.0, 3.0, "working"), (2.0, 3.0, "working"), (3.0, 3.0, "working")])


async def state_is_fresh_for_each_call(c):
    check_equal([await c.text("state"), await c.text("state")], ["1", "1"])


async def panic_is_one_failed_call(c):
    error = await c.error("panic")
    check_equal(error.code, -32603)
    check("PANIC-SECRET" not in f"{error.message} {error.data}", f"the panic's text is on the wire: {error}")
    check_equal(await c.text("echo", text="still here"), "still here")


async def tool_error_is_a_result(c):
    result = await c.call("test_error_handling")
    check_equal(result["isError"], True)
    check_equal([block["text"] for block in result["content"]], ["This tool intentionally returns an error for testing"])


async def unknown_tool_is_invalid_params(c):
    check_equal((await c.error("no-such-tool")).code, -32602)


async def wrong_arguments_name_the_mistake(c):
    """The specification leaves it open which kind of error this is; the client has to be told in either."""
    try:
        result = await c.call("echo", {"text": 7})
        check_equal(result["isError"], True)
    except ProtocolError as error:
        check_equal(error.code, -32602)


async def print_does_not_reach_the_wire(c):
    await c.text("print")
    check_equal(await c.text("echo", text="after"), "after")
    check_equal(c.faults, [])


async def status_describes_the_main_lane(c):
    await c.wait_until_idle(seconds=30)
    result = await c.call("status")
    status = result["structuredContent"]
    check(isinstance(status["workers"], int) and status["workers"] >= 1, f"workers: {status}")
    check_equal(status["active"], 0)
    check_equal([json.loads(block["text"]) for block in result["content"]], [status])


async def log_messages_arrive_in_order(c):
    c.logs.clear()
    await c.log_from_now_on()
    check_equal(await c.text("test_tool_with_logging"), "Tool with logging executed successfully")
    await callbacks(c.logs, 3)
    said = ["Tool execution started", "Tool processing data", "Tool execution completed"]
    check_equal(c.logs, [("info", text) for text in said])


async def a_parameter_that_a_header_mirrors(c):
    """Over HTTP the stateless era has the SDK say it twice, encoded where a header field can not hold it as it is."""
    for value in ["plain", "", " padded ", "héllo 世界", "=?base64?cGxhaW4=?="]:
        check_equal(await c.text("test_custom_header", value=value), value)


async def an_answer_after_the_stream_ended(c):
    """The tool ends its response stream early, where there is one and its revision allows that; the SDK comes back for the answer."""
    check_equal(await c.text("test_reconnection"), "The client came back for this")


async def ping_is_answered(c):
    await c.ping()


async def cancelling_frees_the_worker(c):
    """It would sleep for longer than a step may take."""
    await c.abandon("sleep", {"ms": 90_000}, seconds=1)
    await c.wait_until_idle(seconds=30)


ALL = [
    tools_are_listed_in_order,
    echo_returns_its_text,
    a_call_without_arguments,
    content_of_every_kind,
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
    log_messages_arrive_in_order,
    a_parameter_that_a_header_mirrors,
    an_answer_after_the_stream_ended,
    ping_is_answered,
    cancelling_frees_the_worker,
]
