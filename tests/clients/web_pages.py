"""Opens a page in a headless Chromium that calls `everything` from another origin: one that is accepted, and one that is not.

The page (web/page.html) lists, calls, sees progress stream in, leaves a call, and reports what it saw to the server that it came from.
"""

import argparse
import http.server
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

from everything import HttpServer

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web/page.html")
SECONDS_MAX = 60
# A browser takes every name for this machine; the server accepts pages of the first alone.
ACCEPTED, REFUSED = "localhost", "evil.example"
WANTED = {
    ACCEPTED: {
        "lists": True,
        "calls": "é 漢 😀",
        "exposed": "from-a-page",
        "streams": [1, 2, 3, "result"],
        "cancelled": "AbortError",
        "session": "string",
    },
    # What a browser says of an answer that it does not show to the page.
    REFUSED: {"refused": "TypeError"},
}


class Pages:
    """The origin of the page, and where it reports."""

    def __init__(self):
        said = self.said = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with open(PAGE, "rb") as page:
                    body = page.read()
                self.answer(body if self.path.startswith("/page") else b"")

            def do_POST(self):
                said.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.answer(b"")

            def answer(self, body):
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.server_port


def browse(chromium, url, said):
    """What the page at this URL reports."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                f"--user-data-dir={profile}",
                f"--host-resolver-rules=MAP {REFUSED} 127.0.0.1",
                "--remote-debugging-port=0",
                url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            lines = said.get(timeout=SECONDS_MAX).splitlines()
        finally:
            browser.terminate()
            try:
                browser.wait(timeout=10)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
    return {name: json.loads(value) for name, _, value in (line.partition("=") for line in lines)}


def main(arguments):
    passed = failed = 0
    pages = Pages()
    with HttpServer(os.path.abspath(arguments.server), arguments.front) as server:
        for host, wanted in WANTED.items():
            try:
                got = browse(arguments.chromium, f"http://{host}:{pages.port}/page?{server.url}", pages.said)
            except queue.Empty:
                got = {"browser": f"no word within {SECONDS_MAX} s"}
            for name in sorted({*wanted, *got}):
                fine = name in got and got[name] == wanted.get(name, "nothing of the kind")
                passed, failed = (passed + 1, failed) if fine else (passed, failed + 1)
                print(f"a page of {host}: {name}: {'passed' if fine else f'FAILED ({got.get(name)!r})'}", flush=True)
        server.stop()
    print(f"{passed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the `everything` binary")
    parser.add_argument("--front", choices=["tiny", "guarded"])
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    sys.exit(0 if main(parser.parse_args()) == 0 else 1)
