"""A receiver of webhooks: keeps what it gets, answers as it is told, and can be away."""

import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.peers.room import free_port


@dataclass(frozen=True)
class Posted:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    answer: int = 200

    @property
    def payload(self) -> dict[str, Any]:
        """The body as JSON."""
        payload: dict[str, Any] = json.loads(self.body)
        return payload


class HookServer:
    """Listens from `open` on; `statuses` maps a path to the answers that are given
    first, `judge` gives all others."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.got: list[Posted] = []
        self.statuses: dict[str, list[int]] = {}
        self.judge: Callable[[dict[str, str], bytes], int] = lambda headers, body: 200
        self.stalled = threading.Event()
        self.stalled.set()
        self._server: http.server.ThreadingHTTPServer | None = None

    def open(self) -> Self:
        """Listen."""
        owner = self

        class Exchange(_Exchange):
            peer = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Exchange)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def close(self) -> None:
        """Be away."""
        self.stalled.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def taken(self, path: str) -> list[Posted]:
        """What came to a path."""
        return [posted for posted in self.got if posted.path == path]

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Exchange(http.server.BaseHTTPRequestHandler):
    peer: HookServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        statuses = self.peer.statuses.get(self.path, [])
        headers = dict(self.headers)
        status = statuses.pop(0) if statuses else self.peer.judge(headers, body)
        self.peer.stalled.wait(30)
        self.peer.got.append(Posted(self.path, headers, body, status))
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"{self.peer.url}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """The list is log enough."""
