"""What only a real connection shows: bodies cut off, too large, or never read."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import LIMITS, TASK, api_over, served


@pytest.fixture
async def url(store: SqliteStore) -> AsyncIterator[str]:
    """The API on a port."""
    async with served(api_over(store)) as address:
        yield address


class Wire:
    """One connection, for what a client library would not send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, url: str) -> "Wire":
        """A connection to the server."""
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    async def send(self, head: str, body: bytes = b"") -> None:
        """Send a request, or a part of one."""
        self._writer.write(head.replace("\n", "\r\n").encode() + body)
        await self._writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body of the next answer."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = head.partition("content-length: ")[2].partition("\r\n")[0]
        return int(head.split()[1]), await self._reader.readexactly(int(length or 0))

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()


async def test_a_body_that_is_too_large_is_told_before_it_is_sent(url: str) -> None:
    wire = await Wire.to(url)
    length = LIMITS.body_bytes + 1
    await wire.send(f"POST /v1/tasks HTTP/1.1\nHost: x\nContent-Length: {length}\n\n")
    status, body = await wire.answer()
    assert status == 413
    assert json.loads(body)["status"] == 413
    await wire.close()


async def test_a_body_that_grows_too_large_is_not_read_to_its_end(url: str) -> None:
    wire = await Wire.to(url)
    await wire.send("POST /v1/tasks HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n")
    chunk = b"x" * 65536
    for _ in range(LIMITS.body_bytes // len(chunk) + 1):
        await wire.send(f"{len(chunk):x}\n", chunk + b"\r\n")
    status, _ = await wire.answer()
    assert status == 413
    await wire.close()


async def test_a_client_that_hangs_up_in_its_body_makes_no_task(url: str) -> None:
    body = json.dumps(TASK).encode()
    wire = await Wire.to(url)
    await wire.send(f"POST /v1/tasks HTTP/1.1\nHost: x\nContent-Length: {len(body) + 1}\n\n", body)
    await wire.close()
    async with httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/v1/tasks")).json() == {"tasks": []}


async def test_a_connection_goes_on_after_a_cancel_whose_body_nobody_read(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        task_id = (await client.post("/v1/tasks", json=TASK)).json()["id"]
    wire = await Wire.to(url)
    for _ in range(2):
        head = f"POST /v1/tasks/{task_id}:cancel HTTP/1.1\nHost: x\nContent-Length: 100000\n\n"
        await wire.send(head, b"x" * 100_000)
        assert await wire.answer() == (200, b"{}")
    await wire.close()


async def test_head_answers_as_get_without_a_body(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as client:
        for path in ("/v1/tasks", "/ga4gh/tes/v1/service-info", "/healthz", "/"):
            answer = await client.head(path)
            assert answer.status_code == 200
            assert answer.content == b""


async def test_tasks_made_at_the_same_time_are_all_kept(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        answers = await asyncio.gather(*(client.post("/v1/tasks", json=TASK) for _ in range(200)))
        ids = {answer.json()["id"] for answer in answers}
        page = (await client.get("/v1/tasks", params={"page_size": 2000})).json()
    assert len(ids) == 200
    assert {task["id"] for task in page["tasks"]} == ids
