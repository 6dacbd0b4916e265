"""Steps about what the server tells without being asked each time: a list has changed, a resource holds something else.

In the stateless era a client listens on a stream that names what it wants to hear; in the handshake era lists are told to everybody who is
there, and resources to whoever subscribed.
"""

import anyio

from sdk import check_equal

WATCHED = "test://watched-resource"
LISTS = ["tools/list_changed", "prompts/list_changed"]


async def trigger(c, *names):
    for name in names:
        await c.text(f"test_trigger_{name}")


async def a_stream_tells_what_it_was_asked_for(c):
    async with c.listen(tools_list_changed=True, resource_subscriptions=[WATCHED]) as changes:
        check_equal(changes.honored, {"toolsListChanged": True, "resourceSubscriptions": [WATCHED]})
        for change, told in [
            ("tool_change", ("tools/list_changed", None)),
            ("resource_update", ("resources/updated", WATCHED)),
        ]:
            await trigger(c, "prompt_change", change)
            check_equal(await changes.next(), told)


async def two_streams_are_told_apart(c):
    async with c.listen(tools_list_changed=True) as tools, c.listen(prompts_list_changed=True) as prompts:
        await trigger(c, "tool_change", "prompt_change")
        check_equal(await tools.next(), (LISTS[0], None))
        check_equal(await prompts.next(), (LISTS[1], None))


async def a_stream_that_is_left_ends(c):
    await wait_until_nobody_listens(c)
    async with c.listen(tools_list_changed=True):
        check_equal(await listening(c), 1)
    await wait_until_nobody_listens(c)


async def wait_until_nobody_listens(c):
    with anyio.fail_after(30):
        while await listening(c):
            if c.front == "tiny":
                await trigger(c, "tool_change", "prompt_change")  # it notices by writing
            await anyio.sleep(0.02)


async def listening(c):
    return (await c.status())["stats"]["subscriptions"]


async def a_session_hears_of_lists(c):
    c.told.clear()
    await trigger(c, "tool_change", "prompt_change")
    for name in LISTS:
        await c.wait_until_told(f"notifications/{name}")


async def a_session_watches_a_resource(c):
    await c.subscribe(WATCHED)
    c.told.clear()
    await trigger(c, "resource_update")
    check_equal(await c.wait_until_told("notifications/resources/updated"), {"uri": WATCHED})
    await c.unsubscribe(WATCHED)
    c.told.clear()
    # What is told in the end shows that nothing came before it.
    await trigger(c, "resource_update", "tool_change")
    await c.wait_until_told(f"notifications/{LISTS[0]}")
    check_equal([name for name, _ in c.told], [f"notifications/{LISTS[0]}"])


ON_STREAMS = [a_stream_tells_what_it_was_asked_for, two_streams_are_told_apart, a_stream_that_is_left_ends]
IN_SESSIONS = [a_session_hears_of_lists, a_session_watches_a_resource]
ALL = ON_STREAMS + IN_SESSIONS
