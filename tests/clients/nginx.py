"""Runs the nginx configuration of the page *Running it for others*, and looks whether streams come through as they are written.

Through a path prefix, with HTTP/1.1 and with HTTP/1.0 to the server, from a client that speaks HTTP/1.0 itself, and with nginx's defaults.
"""

import argparse
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

from everything import HttpServer

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
# What nginx needs around it to run as anybody, in a folder of its own.
AROUND = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; {server} }}
"""


def documented():
    with open(os.path.join(ROOT, "src/server/running_it.md")) as page:
        return re.search(r"```nginx\n(.*?)```", page.read(), re.DOTALL)[1]


def with_defaults():
    return "server { listen 8081; location /tools/ { proxy_pass http://127.0.0.1:8080/; } }"


def plain_http_1_0():
    kept = [line for line in documented().splitlines() if "proxy_http_version" not in line and "Connection" not in line]
    return "\n".join(kept)


class Nginx:
    def __init__(self, binary, server, upstream, port):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)  # started by root, its worker is somebody else
        server = server.replace("127.0.0.1:8080", upstream).replace("listen 8081", f"listen 127.0.0.1:{port}")
        path = os.path.join(self.folder.name, "nginx.conf")
        with open(path, "w") as file:
            file.write(AROUND.format(folder=self.folder.name, server=server))
        self.process = subprocess.Popen([binary, "-c", path, "-p", self.folder.name], stdin=subprocess.DEVNULL)
        self.port = port

    def __enter__(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/tools/healthz")
                return self if connection.getresponse().status == 200 else self.fail("/healthz does not answer")
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.fail("nginx does not start")
                time.sleep(0.02)

    def fail(self, why):
        with open(os.path.join(self.folder.name, "error.log")) as log:
            raise AssertionError(f"{why}: {log.read()[-500:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def post(port, tool, arguments, http_1_0=False):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if http_1_0:
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
    meta = {**MODERN, "progressToken": 1}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}
    headers = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
    }
    connection.request("POST", "/tools/mcp", json.dumps(body), headers)
    return connection.getresponse()


def events(response):
    """Each message of a stream, with the moment at which it came."""
    while line := response.readline():
        if line.startswith(b"data: "):
            yield time.monotonic(), json.loads(line[6:])


def answer(response):
    """The answer, which comes as an event when it took a while."""
    assert response.status == 200, response.status
    if response.getheader("Content-Type") == "text/event-stream":
        return list(events(response))[-1][1]
    return json.loads(response.read())


def streams_as_written(port, http_1_0=False):
    delay, steps = 0.4, 4
    response = post(port, "progress", {"n": steps, "delay_ms": int(delay * 1000)}, http_1_0)
    came = list(events(response))
    assert len(came) == steps + 1, came
    assert "result" in came[-1][1], came[-1]
    # Held back, all of them would come in one go.
    apart = came[-1][0] - came[0][0]
    assert apart > delay * (steps - 1) / 2, f"the events came within {apart:.2f} s"


def takes_a_large_body(port):
    text = "x" * 3_000_000
    said = answer(post(port, "echo", {"text": text}))
    assert said["result"]["content"][0]["text"] == text


def leaving_cancels(port):
    def active():
        return answer(post(port, "status", {}))["result"]["structuredContent"]["active"]

    response = post(port, "progress", {"n": 1000, "delay_ms": 50})
    next(events(response))
    assert active() == 1
    response.close()
    deadline = time.monotonic() + 10
    while active() > 0:
        assert time.monotonic() < deadline, "the call goes on"
        time.sleep(0.02)


CONFIGURATIONS = {
    "as documented": (documented, [streams_as_written, takes_a_large_body, leaving_cancels]),
    "HTTP/1.0 to the server": (plain_http_1_0, [streams_as_written, takes_a_large_body, leaving_cancels]),
    "nginx's defaults": (with_defaults, [streams_as_written, leaving_cancels]),
}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def main(arguments):
    passed = failed = 0

    def step(name, run, *with_these):
        nonlocal passed, failed
        try:
            run(*with_these)
        except Exception as error:
            failed += 1
            print(f"{name}: FAILED ({' '.join(f'{type(error).__name__}: {error}'.split())[:500]})", flush=True)
        else:
            passed += 1
            print(f"{name}: passed", flush=True)

    with HttpServer(os.path.abspath(arguments.server), arguments.front) as server:
        upstream = server.url.removeprefix("http://").removesuffix("/mcp")
        for name, (configuration, steps) in CONFIGURATIONS.items():
            with Nginx(arguments.nginx, configuration(), upstream, free_port()) as nginx:
                for run in steps:
                    step(f"nginx, {name}: {run.__name__}", run, nginx.port)
                step(f"nginx, {name}: streams to an HTTP/1.0 client", streams_as_written, nginx.port, True)
        server.stop()
    print(f"{passed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--front", choices=["tiny", "guarded"])
    parser.add_argument("--nginx", default="nginx")
    sys.exit(0 if main(parser.parse_args()) == 0 else 1)
