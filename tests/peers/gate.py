"""An HTTP server that counts who passes, and holds whom it is told to hold.

Commands of tasks knock here, so that a second execution would show; transfers stall here, so
that a phase stays open for as long as a test needs it.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.peers.room import wait_until


class Gate:
    """`url`/any/path: GET answers `open` and its own path, PUT keeps the body."""

    def __init__(self) -> None:
        self._passed: Counter[str] = Counter()
        self._arrived: Counter[str] = Counter()
        self._held: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self.bodies: dict[str, bytes] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def hold(self, path: str) -> None:
        """From now on requests for `path` wait."""
        with self._lock:
            self._held[path] = threading.Event()

    def release(self, path: str) -> None:
        """Let go whoever waits, and who comes later."""
        with self._lock:
            held = self._held.pop(path, None)
        if held:
            held.set()

    def arrived(self, path: str) -> int:
        """How many requests for `path` came, held or not."""
        return self._arrived[path]

    def passed(self, path: str) -> int:
        """How many were answered."""
        return self._passed[path]

    def wait_for(self, path: str, count: int = 1) -> None:
        """Wait until `count` requests for `path` have come."""
        wait_until(lambda: self.arrived(path) >= count, f"{count} requests for {path}")

    def knock(self, path: str) -> str:
        """A shell command, for bash, that requests `path` and waits for the answer."""
        return (
            f"exec 9<>/dev/tcp/127.0.0.1/{self.port}; "
            f"printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&9; cat <&9 >/dev/null; exec 9>&-"
        )

    @classmethod
    @contextlib.contextmanager
    def opened(cls) -> Iterator["Gate"]:
        """A gate that serves for as long as the context lasts."""
        gate = cls()
        threading.Thread(target=gate._server.serve_forever, daemon=True).start()
        try:
            yield gate
        finally:
            for path in list(gate._held):
                gate.release(path)
            gate._server.shutdown()
            gate._server.server_close()

    def _pass(self, path: str) -> None:
        with self._lock:
            self._arrived[path] += 1
            held = self._held.get(path)
        if held:
            held.wait()
        with self._lock:
            self._passed[path] += 1

    def _handler(gate: "Gate") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate._pass(self.path)
                self._answer(200, f"open {self.path}\n".encode())

            def do_HEAD(self) -> None:
                body = gate.bodies.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()

            def do_PUT(self) -> None:
                body = self._body()
                gate._pass(self.path)
                gate.bodies[self.path] = body
                self._answer(201, b"")

            def _body(self) -> bytes:
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body

            def _answer(self, status: int, body: bytes) -> None:
                with contextlib.suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        return Handler
