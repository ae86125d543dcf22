"""A file on its way from a storage to a client, in bounded memory."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tesp.api.presence import while_there
from tesp.errors import StagingError
from tesp.staging.resume import Reading
from tesp.staging.storages import Storages
from tesp.staging.transfer import log_moved
from tesp.staging.turns import Turn
from tesp.staging.urls import shown

_log = logging.getLogger(__name__)

# Short: many nodes wait, and a node that waits for long takes us for dead.
SLICE_BYTES = 8 << 20
_FROM = re.compile(r"bytes=([0-9]{1,18})-")


@dataclass(frozen=True, slots=True)
class Wish:
    """Which part of a file a client wants: all from `start` on, if it is still that version."""

    start: int = 0
    tag: str | None = None

    @classmethod
    def of(cls, request: Request) -> "Wish":
        """What the headers say; other ranges than an open one are not served, as HTTP allows."""
        match = _FROM.fullmatch(request.headers.get("range", ""))
        return cls(int(match[1]), request.headers.get("if-range")) if match else cls()


class Outflow:
    """Opens files for clients; so many at once."""

    def __init__(
        self, storages: Storages, turns: asyncio.Semaphore, silence_seconds: float
    ) -> None:
        self.storages, self.turns, self.silence_seconds = storages, turns, silence_seconds

    def response(self, request: Request, url: str) -> Response:
        """The file as an answer to this request."""
        return _Streamed(self, url, Wish.of(request))


class _Streamed(Response):
    """A file that is opened when its turn comes, and let go when the client does.

    What cannot be opened is a StagingError before the answer begins. What breaks after that
    breaks the connection: a client never takes a part for the whole.
    """

    def __init__(self, outflow: Outflow, url: str, wish: Wish) -> None:
        self._outflow, self._url, self._wish = outflow, url, wish
        self._sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_there(self._give(scope["method"], send), _gone(receive))

    async def _give(self, method: str, send: Send) -> None:
        async with Turn(self._outflow.turns, SLICE_BYTES) as turn:
            started = time.monotonic()
            opened = await self._open()
            async with aclosing(opened.chunks) as chunks:
                await send(opened.head())
                if method == "HEAD":
                    return await send({"type": "http.response.body"})
                try:
                    async for chunk in turn.shared(_joined(opened.first, chunks)):
                        await self._send(send, chunk)
                except StagingError as error:
                    # Without its end, the answer is broken off.
                    return _log.warning("%s: broken off: %s", shown(self._url), error)
                await send({"type": "http.response.body"})
        log_moved("fetched", self._url, self._sent, started)

    async def _open(self) -> "_Opened":
        """From where the client wants it, or else from the beginning."""
        wish = self._wish
        if wish.start:
            with suppress(StagingError):
                opened = await self._begin(wish.start)
                if opened.resumes and wish.tag in (None, opened.tag):
                    return opened
                await opened.chunks.aclose()
        return await self._begin(0)

    async def _begin(self, start: int) -> "_Opened":
        reading = Reading(self._outflow.storages, self._url, start=start)
        chunks = reading.chunks()
        try:
            first = await anext(chunks, b"")
        except BaseException:
            await chunks.aclose()
            raise
        return _Opened(start, reading.size, _entity_tag(reading.tag), first, chunks)

    async def _send(self, send: Send, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._outflow.silence_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError as error:
            raise StagingError("the client took nothing for too long") from error
        self._sent += len(chunk)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file whose first chunk has come: from `start` on, what is known of it."""

    start: int
    size: int | None
    tag: str | None
    first: bytes
    chunks: Any

    @property
    def resumes(self) -> bool:
        """Whether a part of it can be told from a part of another version."""
        return self.size is not None and self.tag is not None

    def head(self) -> dict[str, Any]:
        """The beginning of the answer."""
        headers = {"content-type": "application/octet-stream", "cache-control": "no-store"}
        if self.size is not None:
            headers["content-length"] = str(self.size - self.start)
        if self.tag is not None:
            headers["etag"] = self.tag
        if self.resumes:
            headers["accept-ranges"] = "bytes"
        if self.start:
            headers["content-range"] = f"bytes {self.start}-{(self.size or 0) - 1}/{self.size}"
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        status = 206 if self.start else 200
        return {"type": "http.response.start", "status": status, "headers": pairs}


def _entity_tag(tag: str | None) -> str | None:
    """A version's name in the form that HTTP wants; what the storages say has any form."""
    return None if tag is None else f'"{hashlib.sha256(tag.encode()).hexdigest()[:32]}"'


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
