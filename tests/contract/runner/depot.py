"""A server that tells where outputs go and takes them, and gives inputs, as scripted."""

import http.server
import json
import threading
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Depot:
    """Takes outputs at `url`; `taken` holds them by output and name.

    `targets` maps a name to the URL that is told for it. `refusals` maps a method and a name to
    the (status, sentence) pairs that its next requests are answered, the body unread. `given`
    maps a path to what a GET of it is answered. While `gate` is closed no body is read.
    """

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], bytes] = {}
        self.sizes: dict[tuple[str, str], str] = {}
        self.targets: dict[str, str] = {}
        self.given: dict[str, bytes] = {}
        self.refusals: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        owner = self

        class Exchange(_Exchange):
            depot = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.host = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.host}/outputs?key=k%26ey"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Exchange(http.server.BaseHTTPRequestHandler):
    depot: Depot
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self._refused():
            return
        path = urlsplit(self.path).path
        if path in self.depot.given:
            self._answer(200, self.depot.given[path])
        else:
            self.depot.sizes[self._key()] = self._query("size")
            target = self.depot.targets.get(self._query("name"))
            self._answer(200, json.dumps({"url": target}).encode())

    def do_PUT(self) -> None:
        if self._refused():
            return
        self.depot.gate.wait()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.depot.taken[self._key()] = body
        self._answer(201, b"")

    def _refused(self) -> bool:
        name = self._query("name") or urlsplit(self.path).path
        self.depot.asked.append((self.command, name))
        answers = self.depot.refusals.get((self.command, name))
        if not answers:
            return False
        status, sentence = answers.pop(0)
        body = json.dumps({"status": status, "detail": sentence}) if sentence else "<Error/>"
        self.close_connection = True
        self._answer(status, body.encode())
        return True

    def _key(self) -> tuple[str, str]:
        assert self._query("key") == "k&ey"
        return self._query("output"), self._query("name")

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """What was asked is log enough."""
