"""Drives the example `operations` with the Python SDK: several people, one fleet, long updates, and a server that is killed in between.

Two stateless clients follow their jobs as tasks, by an extension of the SDK's own kind; a client with a handshake looks after its job with
the job tools. Run it with the Python that tests/clients/install.sh sets up.
"""

import argparse
import os
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from mcp import Client, types
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.types import CallToolResult, Request, Result
from pydantic import ConfigDict

from everything import HttpServer
from sdk import Report, check, check_equal, only_text, run_step, wire

STEP_MS = 500


class Task(Result):
    """A call answered with a task."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"


class Shown(Result):
    """A task as it was looked at."""

    model_config = ConfigDict(extra="allow")


class GetTask(Request[dict[str, Any], Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    name_param = "taskId"


async def look(session, task):
    return wire(await session.send_request(GetTask(params={"taskId": task}), Shown))


class Tasks(ClientExtension):
    """Follows tasks to their ends, and keeps what it saw on the way."""

    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.begun = []
        self.messages = []

    def claims(self):
        return [ResultClaim(result_type="task", model=Task, resolve=self.follow)]

    async def follow(self, task, context):
        made = wire(task)
        self.begun.append(made["taskId"])
        while True:
            shown = await look(context.session, made["taskId"])
            self.messages.append(shown.get("statusMessage", ""))
            if shown["status"] == "completed":
                return CallToolResult.model_validate(shown["result"])
            check_equal(shown["status"], "working")
            await anyio.sleep(0.02)


class Operator:
    """One person with a workspace."""

    def __init__(self, client, tasks=None):
        self.client, self.tasks, self.workspace = client, tasks, None

    async def call(self, tool, on_progress=None, **arguments):
        if self.workspace is not None:
            arguments["workspace"] = self.workspace
        return wire(await self.client.call_tool(tool, arguments, progress_callback=on_progress))

    async def open(self):
        self.workspace = (await self.call("open_workspace"))["structuredContent"]["workspace"]

    async def fleet(self):
        hosts = (await self.call("fleet"))["structuredContent"]["hosts"]
        return {host["name"]: host for host in hosts}


@asynccontextmanager
async def operator(url, mode):
    tasks = Tasks() if mode == "auto" else None
    async with Client(url, mode=mode, extensions=[tasks] if tasks else None) as client:
        yield Operator(client, tasks)


async def two_updates_at_once(one, two):
    await one.open()
    await two.open()
    check(one.workspace != two.workspace, "each has its own")
    check_equal(only_text(await one.call("take_host", like="web-1")), "web-1")
    check_equal(only_text(await two.call("take_host", like="web-2")), "web-2")
    results = []

    async def update(who, host):
        results.append(only_text(await who.call("update_host", host=host, version="2.0")))

    async with anyio.create_task_group() as both:
        both.start_soon(update, one, "web-1")
        both.start_soon(update, two, "web-2")
        seen = set()
        while len(seen) < 2:
            # Each is busy while the other is: neither waits for the other's workspace or host.
            updating = {name for name, host in (await one.fleet()).items() if host["updating"]}
            if len(updating) == 2:
                seen = updating
            await anyio.sleep(0.01)
    check_equal(sorted(results), ["web-1 runs 2.0", "web-2 runs 2.0"])
    for who in [one, two]:
        check(any("of 4" in message for message in who.tasks.messages), f"no progress in {who.tasks.messages}")
    check_equal({host["version"] for name, host in (await one.fleet()).items() if name in ("web-1", "web-2")}, {"2.0"})


async def a_busy_host_is_waited_for(one, three):
    told = []

    async def on_progress(_progress, _total, message):
        told.append(message or "")

    got = []

    async def take():
        got.append(only_text(await three.call("take_host", on_progress=on_progress, like="web-1", wait_seconds=20)))

    async with anyio.create_task_group() as waiting:
        waiting.start_soon(take)
        while not any("web-1" in message and "workspace" in message for message in told):
            await anyio.sleep(0.01)
        check_equal(got, [])
        await one.call("close_workspace")
    check_equal(got, ["web-1"])


async def a_job_for_a_client_without_tasks(three):
    made = await three.call("update_host", host="web-1", version="3.0", background=True)
    job = made["structuredContent"]["job"]
    status = None
    while status != "completed":
        shown = wire(await three.client.call_tool("job_status", {"job": job, "wait_seconds": 5}))["structuredContent"]
        status = shown["status"]
        check(status in ("working", "completed"), f"{shown}")
    result = wire(await three.client.call_tool("job_result", {"job": job}))
    check_equal(only_text(result), "web-1 runs 3.0")
    return job


async def talk(report, server, kept):
    async with operator(server.url, "auto") as one, operator(server.url, "auto") as two, operator(server.url, "legacy") as three:
        await run_step(report, "two updates at once", two_updates_at_once, one, two)
        await run_step(report, "a busy host is waited for", a_busy_host_is_waited_for, one, three)
        await run_step(report, "a job for a client without tasks", a_job_for_a_client_without_tasks, three)
        kept.extend(one.tasks.begun)


async def remember(report, server, kept):
    async def what_was_finished_is_there(client):
        check(kept, "there was a task")
        for task in kept:
            shown = await look(client.session, task)
            check_equal((shown["status"], shown["result"]["content"][0]["text"]), ("completed", "web-1 runs 2.0"))

    async with Client(server.url, mode="auto", extensions=[Tasks()]) as client:
        await run_step(report, "a killed server keeps what was finished", what_was_finished_is_there, client)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="the `operations` binary, built with the feature `durable`")
    binary = os.path.abspath(parser.parse_args().server)
    report, kept = Report(), []
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--jobs", f"{folder}/jobs", "--step-ms", str(STEP_MS)]
        with HttpServer(binary, arguments=arguments) as server:
            anyio.run(talk, report, server, kept)
            server.kill()
        with HttpServer(binary, arguments=arguments) as server:
            anyio.run(remember, report, server, kept)
            server.stop()
    report.end()
    sys.exit(0 if report.failed == 0 else 1)


if __name__ == "__main__":
    main()
