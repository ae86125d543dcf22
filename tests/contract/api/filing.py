"""Jobs that move their own files, and the peers that they move them between."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from tesp.staging.keys import Keys
from tesp.store import Claim, NewTask
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.models import Executor, Input, Output, TaskSubmission
from tesp.tes.views import body_text
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer

SMALL = b"some bytes\r\n--\n"
# More than one part for S3, more than is held.
LARGE = os.urandom(9 << 20)
HTTP_PATIENCE = 60.0
KINDS = ["http", "ftp", "s3", "file"]


@dataclass
class Peers:
    """Where URLs lead, each a directory of its own but the bucket."""

    http: HttpServer
    ftp: FtpServer
    root: Path
    s3: Any
    bucket: str

    def base(self, kind: str) -> str:
        """The URL of the directory."""
        return {
            "http": self.http.url,
            "ftp": self.ftp.url,
            "s3": f"s3://{self.bucket}",
            "file": f"file://{self.root}",
        }[kind]

    def directory(self, kind: str) -> Path:
        """The directory itself, of all but S3."""
        return {"http": self.http.directory, "ftp": self.ftp.directory, "file": self.root}[kind]

    def make(self, kind: str, name: str, content: bytes) -> str:
        """Make a file; gives its URL."""
        if kind == "s3":
            self.s3.put_object(Bucket=self.bucket, Key=name, Body=content)
        else:
            file = self.directory(kind) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return f"{self.base(kind)}/{name}"

    def look(self, kind: str, name: str) -> bytes | None:
        """What is there."""
        if kind != "s3":
            file = self.directory(kind) / name
            return file.read_bytes() if file.is_file() else None
        try:
            content: bytes = self.s3.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return None
        return content


@dataclass
class Job:
    """One attempt at a task, and its URLs."""

    claim: Claim
    keys: Keys
    number: int = 1

    @property
    def task_id(self) -> str:
        return self.claim.fence.task_id

    def input(self, index: int, name: str = "") -> str:
        return self.keys.input_url(self.task_id, self.number, index, name)

    def send(self, output: object, size: object, name: str = "") -> str:
        query = urlencode({"output": output, "name": name, "size": size})
        return f"{self.keys.send_url(self.task_id, self.number)}&{query}"

    def post(self, path: str) -> str:
        query = urlencode({"path": path, "file_type": "output_metadata"})
        return f"{self.keys.send_url(self.task_id, self.number)}&{query}"


@dataclass
class Desk:
    """The API, with what tests need of it."""

    url: str
    store: SqliteStore
    keys: Keys
    client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(timeout=HTTP_PATIENCE)
    )

    async def job(
        self, inputs: list[Input] | None = None, outputs: list[Output] | None = None
    ) -> Job:
        """A task that is being worked on."""
        task = TaskSubmission(
            executors=[Executor(image="a", command=["b"])], inputs=inputs, outputs=outputs
        )
        body = body_text(task, "2026-01-02T03:04:05.000Z")
        task_id = await self.store.create(NewTask(new_task_id(), "ann", body))
        claim = await self.store.claim(task_id, "pulsar", "me", 600)
        assert claim is not None
        return Job(claim, self.keys)

    async def fetching(self, *urls: str) -> Job:
        """A job with these inputs."""
        return await self.job([Input(path=f"/in/{n}", url=u) for n, u in enumerate(urls)])

    async def sending(self, url: str, path: str = "/out/x", **fields: Any) -> Job:
        """A job with this output."""
        return await self.job(outputs=[Output(path=path, url=url, **fields)])


Open = Callable[..., Awaitable[Desk]]


def detail(answer: httpx.Response) -> str:
    """The sentence of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    said: str = answer.json()["detail"]
    return said


def raw(url: str, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Send what no client library would; gives what is answered until the end."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    with socket.create_connection((parts.hostname or "", parts.port or 0), HTTP_PATIENCE) as sock:
        sock.sendall(head + body)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while block := sock.recv(65536):
            answer += block
    return answer


async def heard(caplog: pytest.LogCaptureFixture, words: str) -> None:
    """Wait until the service's log says it."""
    deadline = time.monotonic() + HTTP_PATIENCE
    while words not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        await asyncio.sleep(0.01)


async def post_form(url: str, content: bytes, **fields: bytes) -> httpx.Response:
    """A multipart form of the boundary `BOUND`, as it should be."""
    parts = [(name, value) for name, value in {**fields, "file": content}.items()]
    body = b"".join(
        b'--BOUND\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n'
        % (name.encode(), value)
        for name, value in parts
    )
    headers = {"Content-Type": "multipart/form-data; boundary=BOUND"}
    async with httpx.AsyncClient(timeout=HTTP_PATIENCE) as client:
        return await client.post(url, content=body + b"--BOUND--\r\n", headers=headers)
