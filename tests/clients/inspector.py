"""Holds every example to the strict check of the Inspector's command line, and drives `everything` with it.

The check knows what clients and model APIs are known to refuse in the schemas of tools; an error or a warning of it fails the step.
"""

import argparse
import json
import os
import re
import subprocess
import sys

from everything import HttpServer

SECONDS_MAX = 60
LISTENING = re.compile(r"http://127\.0\.0\.1:\d+/mcp")
# How each example is started, over stdio where it can be, and how it says where it serves otherwise.
EXAMPLES = {
    "everything": ["--stdio"],
    "shell": [],
    "notes": ["--stdio"],
    "operations": [],
    "quickstart": ["127.0.0.1:0"],
    "embed": ["1000"],
}


class Inspector:
    def __init__(self, node, script):
        self.command = [node, script, "--cli"]

    def run(self, *arguments):
        """The answer of one command, and what it said beside it."""
        done = subprocess.run(
            [*self.command, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        if done.returncode != 0:
            raise AssertionError(f"exit code {done.returncode}: {done.stderr.strip()[-600:]}")
        return json.loads(done.stdout), done.stderr.strip()

    def tools(self, *target):
        answer, said = self.run(*target, "--method", "tools/list", "--strict")
        # What the server itself says over stdio is passed on.
        said = [line for line in said.splitlines() if not line.startswith("serving on stdin and stdout")]
        if said:
            raise AssertionError(" ".join(said)[-600:])
        if not answer["tools"]:
            raise AssertionError("no tools")


class Report:
    passed = failed = 0

    def step(self, name, run, *arguments):
        try:
            run(*arguments)
        except Exception as error:
            self.failed += 1
            print(f"{name}: FAILED ({' '.join(str(error).split())[:700]})", flush=True)
        else:
            self.passed += 1
            print(f"{name}: passed", flush=True)


def on_http(inspector, command):
    """Checks a server that says on its output where it serves."""
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in server.stdout:
            if found := LISTENING.search(line):
                return inspector.tools(found[0])
        raise AssertionError("it has not said where it serves")
    finally:
        server.kill()
        server.wait()


def calls(inspector, url):
    text = "é 漢 😀"
    answer, _ = inspector.run(url, "--method", "tools/call", "--tool-name", "echo", "--tool-arg", f"text={text}")
    assert answer["content"][0]["text"] == text, answer
    answer, _ = inspector.run(url, "--method", "tools/call", "--tool-name", "sleep", "--tool-arg", "ms=1500")
    assert answer["content"][0]["text"] == "slept 1500 ms", answer


def reads(inspector, url):
    answer, _ = inspector.run(url, "--method", "resources/read", "--uri", "test://static-text")
    assert answer["contents"][0]["text"], answer


def main(arguments):
    inspector = Inspector(arguments.node, arguments.inspector)
    report = Report()
    for name, options in EXAMPLES.items():
        command = [os.path.join(arguments.examples, name), *options]
        if options and options[0] != "--stdio":
            report.step(f"strict, {name}", on_http, inspector, command)
        else:
            report.step(f"strict, {name}", inspector.tools, *command)
    with HttpServer(os.path.join(arguments.examples, "everything")) as server:
        report.step("strict, everything over http", inspector.tools, server.url)
        report.step("calls", calls, inspector, server.url)
        report.step("reads a resource", reads, inspector, server.url)
    if arguments.scripts:
        report.step("strict, scripts", inspector.tools, arguments.scripts, "serve", "--stdio", "examples/scripts/tools.toml", "--trust")
    print(f"{report.passed} passed, {report.failed} failed")
    return report.failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", required=True, help="the folder of the built examples")
    parser.add_argument("--scripts", help="the `mcp-threads` binary, to serve the example's file of scripts")
    parser.add_argument("--node", default="node")
    parser.add_argument("--inspector", required=True, help="the script of the Inspector")
    sys.exit(0 if main(parser.parse_args()) == 0 else 1)
