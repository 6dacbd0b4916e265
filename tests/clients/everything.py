"""Starts and stops the reference server, so that each client script can be about its client.

`everything` says on its stderr where it listens; that stream has to be read to its end, or a talkative server blocks on a full pipe.
"""

import queue
import re
import signal
import subprocess
import threading
from collections import deque

LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+/mcp)")
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 60


class ServerFailed(Exception):
    """The server did not start, died, or did not end as it should; the text says which, with its last words."""


class HttpServer:
    """One `everything --http ADDRESS`, from `with` to the end of the block.

    `url` is where it listens; an address with a port is for a server that comes back where one has been. Leaving the block
    normally stops it with `stop`; leaving it by an exception kills it.
    """

    def __init__(self, binary, front=None, arguments=(), address="127.0.0.1:0"):
        command = [binary, "--http", address, *(["--front", front] if front else []), *arguments]
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise ServerFailed(f"cannot be started: {error}") from None
        self._asked_to_end = False
        self._last_words = deque(maxlen=20)
        self._found = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait_until_listening()

    def _read(self):
        for line in self.process.stderr:
            self._last_words.append(line.rstrip())
            if found := LISTENING.search(line):
                self._found.put(found[1])
        self._found.put(None)

    def _wait_until_listening(self):
        try:
            url = self._found.get(timeout=START_SECONDS_MAX)
            problem = "it ended, or closed stderr, without a `listening on` line"
        except queue.Empty:
            url = None
            problem = f"no `listening on` line within {START_SECONDS_MAX} s"
        if url is None:
            self.kill()
            raise ServerFailed(problem + self.last_words())
        return url

    def last_words(self):
        """The end of what the server wrote to stderr, ready to be appended to a message."""
        self._reader.join(timeout=1)
        return "".join(f"\n    | {line}" for line in self._last_words)

    def check_alive(self):
        """Raises `ServerFailed` if the process has ended."""
        if self.process.poll() is not None:
            raise ServerFailed(f"the server died with {self.process.returncode}{self.last_words()}")

    def ask_to_end(self):
        """Asks the server to end (SIGTERM) and does not wait for it."""
        self.check_alive()
        self.process.send_signal(signal.SIGTERM)
        self._asked_to_end = True

    def stop(self):
        """Asks the server to end, unless it was asked before, and raises `ServerFailed` unless it exits 0 in time."""
        if not self._asked_to_end:
            self.ask_to_end()
        try:
            code = self.process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"still running {STOP_SECONDS_MAX} s after SIGTERM{self.last_words()}") from None
        if code != 0:
            raise ServerFailed(f"exit code {code} after SIGTERM, not 0{self.last_words()}")

    def kill(self):
        """Ends the process without ceremony; harmless when it has ended."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
