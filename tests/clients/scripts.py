"""Drives a file of scripts, served by `mcp-threads serve --stdio`, with the Python SDK in both protocol eras.

The file is the one of examples/scripts, in a copy of its own. Run it with the Python that tests/clients/install.sh sets up.
"""

import argparse
import os
import shutil
import sys
import tempfile

import anyio
from mcp import Client, types
from mcp.client.stdio import StdioServerParameters, stdio_client

from sdk import Report, check, check_equal, only_text, run_step, wire

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "scripts")


async def call(client, tool, on_progress=None, **arguments):
    return wire(await client.call_tool(tool, arguments, progress_callback=on_progress))


async def what_the_file_offers_is_listed(client):
    tools = {tool["name"]: tool for tool in wire(await client.list_tools())["tools"]}
    check({"backup", "query", "search", "deploy", "build"} <= tools.keys(), f"{tools.keys()}")
    check_equal(tools["query"]["inputSchema"]["required"], ["name"])
    check_equal([prompt["name"] for prompt in wire(await client.list_prompts())["prompts"]], ["incident"])


async def a_search_takes_a_hostile_text_as_data(client):
    found = await call(client, "search", text="ERROR")
    check("printer does not answer" in found["content"][0]["text"], f"{found}")
    nothing = await call(client, "search", text="$(touch /tmp/no); `id` -v")
    check(not nothing.get("isError"), f"{nothing}")


async def a_query_has_structured_content(client):
    found = await call(client, "query", name="bolt", least=100)
    check_equal(found["structuredContent"], {"parts": [{"name": "bolt M4", "stock": 120}]})


async def a_backup_tells_how_far_it_is(client):
    told = []

    async def on_progress(_progress, _total, message):
        told.append(message or "")

    done = await call(client, "backup", on_progress=on_progress)
    check(not done.get("isError"), f"{done}")
    check(any("data/parts.csv" in message for message in told), f"{told}")


async def a_deploy_asks_a_person(client):
    done = await call(client, "deploy", stage="testing", version="1.4.2")
    text = only_text(done)
    check("version 1.4.2 is on testing" in text, text)
    with open(os.path.join(EXAMPLE, "deploy.token")) as token:
        check(token.read().strip() not in text, "the token is to be seen")


async def a_file_is_a_resource(client):
    contents = wire(await client.read_resource("workshop://parts"))["contents"]
    check(contents[0]["text"].startswith("name,stock"), f"{contents}")


STEPS = [
    what_the_file_offers_is_listed,
    a_search_takes_a_hostile_text_as_data,
    a_query_has_structured_content,
    a_backup_tells_how_far_it_is,
    a_deploy_asks_a_person,
    a_file_is_a_resource,
]


async def a_build_is_a_job(client):
    made = await call(client, "build", steps=2)
    job = made["structuredContent"]["job"]
    status = None
    while status != "completed":
        shown = (await call(client, "job_status", job=job, wait_seconds=5))["structuredContent"]
        status = shown["status"]
        check(status in ("working", "completed"), f"{shown}")
    result = await call(client, "job_result", job=job)
    check("built" in result["content"][0]["text"], f"{result}")


async def yes(_context, params):
    check("Deploy version 1.4.2 to testing?" in params.message, params.message)
    fields = params.requested_schema.get("properties", {})
    return types.ElicitResult(action="accept", content={name: True for name in fields})


async def talk(report, binary, folder, mode):
    server = StdioServerParameters(command=binary, args=["serve", "--stdio", f"{folder}/tools.toml"])
    async with Client(stdio_client(server), mode=mode, elicitation_callback=yes) as client:
        # A client of the stateless era without the tasks extension is told to declare it.
        for step in STEPS + ([a_build_is_a_job] if mode == "legacy" else []):
            await run_step(report, f"{mode}: {step.__name__}", step, client)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="the `mcp-threads` binary")
    binary = os.path.abspath(parser.parse_args().program)
    report = Report()
    with tempfile.TemporaryDirectory() as above:
        # Nobody else may write what is run.
        folder = shutil.copytree(EXAMPLE, f"{above}/workshop")
        for place, _, names in os.walk(folder):
            os.chmod(place, 0o755)
            for name in names:
                os.chmod(os.path.join(place, name), 0o755 if name.endswith(".sh") else 0o644)
        for mode in ["auto", "legacy"]:
            anyio.run(talk, report, binary, folder, mode)
    report.end()
    sys.exit(0 if report.failed == 0 else 1)


if __name__ == "__main__":
    main()
