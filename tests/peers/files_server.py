"""An HTTP server that hands files to jobs, and takes what they send, as the service does."""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit


class FilesServer:
    """`inputs` are served, what is sent is kept in `outputs` under its published name.

    `posts` lists the names that were sent, each as often as it came. So many as `refusals` are
    answered with 500; while `held` is clear, they wait for their answer; all `arrived` count.
    """

    def __init__(self, directory: Path) -> None:
        self.inputs, self.outputs = directory / "inputs", directory / "outputs"
        self.posts: list[str] = []
        self.refusals = self.arrived = 0
        self.held = threading.Event()
        self.held.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def put_in(self, name: str, content: bytes) -> str:
        """Have a file served; its URL."""
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"{self.url}/in/{quote(name)}?key=k"

    def send_url(self, job: str) -> str:
        """Where the outputs of one job go."""
        return f"{self.url}/out/{job}?key=k"

    def sent(self, job: str, output: int, size: int, name: str) -> Path:
        """Where one of them is kept."""
        tail = f"below/{name}" if name else "file"
        return self.outputs / job / str(output) / str(size) / tail

    @classmethod
    @contextlib.contextmanager
    def opened(cls, directory: Path) -> Iterator["FilesServer"]:
        """A server for as long as the context lasts."""
        server = cls(directory)
        threading.Thread(target=server._server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server._server.shutdown()
            server._server.server_close()

    def _keep(self, job: str, name: str, body: bytes) -> None:
        self.posts.append(name)
        target = self.outputs / job / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)

    def _handler(files: "FilesServer") -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path.startswith("/out/"):
                    return self._answer(200, json.dumps({"url": None}).encode())
                path = files.inputs / unquote(url.path).removeprefix("/in/")
                if not path.is_file():
                    return self._answer(404, b"no such file")
                self.send_response(200)
                self.send_header("Content-Length", str(path.stat().st_size))
                self.end_headers()
                with path.open("rb") as file:
                    shutil.copyfileobj(file, self.wfile)

            def do_POST(self) -> None:
                """Pulsar's way: multipart, one field."""
                body = self._body()
                boundary = b"--" + self.headers["Content-Type"].rpartition("boundary=")[2].encode()
                _, _, rest = body.partition(b"\r\n\r\n")
                content = rest.rpartition(b"\r\n" + boundary)[0]
                self._take(self._query()["path"].partition("/published/")[2], content)

            def do_PUT(self) -> None:
                """The runner's way."""
                query = self._query()
                name = query.get("name", "")
                tail = f"below/{name}" if name else "file"
                self._take(f"{query['output']}/{query['size']}/{tail}", self._body())

            def _take(self, name: str, content: bytes) -> None:
                files.arrived += 1
                files.held.wait()
                if files.refusals > 0:
                    files.refusals -= 1
                    return self._answer(500, json.dumps({"detail": "No room."}).encode())
                files._keep(urlsplit(self.path).path.removeprefix("/out/"), name, content)
                with contextlib.suppress(ConnectionError):
                    self._answer(201, b"")

            def _query(self) -> dict[str, str]:
                return {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                pass

        return Handler
