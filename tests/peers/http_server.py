"""A real HTTP server over a directory: ranges, ETags, PUT, Basic auth, redirects.

As a program (`python -m tests.peers.http_server DIRECTORY`) it prints its URL and serves until
its standard input ends.
"""

import base64
import contextlib
import http.server
import os
import re
import secrets
import ssl
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_BLOCK_BYTES = 1 << 20


class HttpServer:
    """Serves `directory` at `url`; `requests` lists (method, path, Range) as they came.

    `ranges`, `tags` and `sizes` take those features away; `redirects` maps a path to a URL;
    `answers` maps a path to a status that is given instead.
    """

    def __init__(
        self,
        directory: Path,
        username: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.directory = directory
        self.username, self.password = username, password
        self.ranges = self.tags = self.sizes = True
        self.redirects: dict[str, str] = {}
        self.answers: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.seen: list[dict[str, str]] = []
        owner = self

        class Exchange(_Exchange):
            peer = owner

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
        self._server.daemon_threads = True
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
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
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Exchange(http.server.BaseHTTPRequestHandler):
    peer: HttpServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._ready():
            return
        try:
            file = self._file().open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return self._answer(404)
        with file:
            self._send_file(file)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        if not self._ready():
            return
        target = self._file()
        draft = self.peer.directory.with_name(f".{secrets.token_hex(8)}")
        target.parent.mkdir(parents=True, exist_ok=True)
        left = int(self.headers["Content-Length"])
        with draft.open("wb", buffering=0) as out:
            while left and (block := self.rfile.read1(min(left, _BLOCK_BYTES))):
                out.write(block)
                left -= len(block)
        if left:
            draft.unlink()
            self.close_connection = True
            return
        draft.rename(target)
        self._answer(201)

    def _ready(self) -> bool:
        """Note the request; answer it here where it gets no further."""
        path = urlsplit(self.path).path
        self.peer.requests.append((self.command, self.path, self.headers.get("Range")))
        self.peer.seen.append(dict(self.headers))
        if self.peer.username and self.headers.get("Authorization") != self._expected():
            self._answer(401)
        elif path in self.peer.answers:
            self._answer(self.peer.answers[path])
        elif path in self.peer.redirects:
            self._answer(307, {"Location": self.peer.redirects[path]})
        else:
            return True
        return False

    def _expected(self) -> str:
        pair = f"{self.peer.username}:{self.peer.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _send_file(self, file: object) -> None:
        stat = os.fstat(file.fileno())  # type: ignore[attr-defined]
        tag = f'"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"'
        start = self._start(tag)
        headers = {"ETag": tag} if self.peer.tags else {}
        if start is not None and start >= stat.st_size:
            return self._answer(416, headers | {"Content-Range": f"bytes */{stat.st_size}"})
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{stat.st_size - 1}/{stat.st_size}"
        status = 200 if start is None else 206
        length = stat.st_size - (start or 0)
        self._answer(status, headers, length if self.peer.sizes else None)
        if self.command == "GET" and length:
            with contextlib.suppress(ConnectionError):
                self.connection.sendfile(file, start or 0)  # type: ignore[arg-type]

    def _start(self, tag: str) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not asked or not self.peer.ranges or self.headers.get("If-Range", tag) != tag:
            return None
        return int(asked[1])

    def _answer(
        self, status: int, headers: dict[str, str] | None = None, length: int | None = 0
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        # A body that nobody has read would be taken for the next request.
        if self.command == "PUT" and status >= 300:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        if self.command == "PUT" and status >= 300:
            self._drain()

    def _drain(self) -> None:
        left = int(self.headers["Content-Length"])
        with contextlib.suppress(ConnectionError):
            while left and (block := self.rfile.read1(min(left, _BLOCK_BYTES))):
                left -= len(block)

    def _file(self) -> Path:
        return self.peer.directory / unquote(urlsplit(self.path).path).lstrip("/")

    def log_message(self, format: str, *args: object) -> None:
        """The list of requests is log enough."""


def main() -> None:
    """Serve a directory until standard input ends."""
    with HttpServer(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
