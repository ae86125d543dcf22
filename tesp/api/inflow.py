"""A file on its way from a client to a storage: whole, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.types import Receive

from tesp.api.outflow import SLICE_BYTES
from tesp.errors import TransferFailed
from tesp.staging import Chunks
from tesp.staging.listing import tries
from tesp.staging.storages import Storages
from tesp.staging.transfer import log_moved
from tesp.staging.turns import Turn

# What is so small is held, so that the storage can be tried again, or lead elsewhere.
_HELD_BYTES = 8 << 20


class Inflow:
    """Puts what clients send to where it belongs; so many at once."""

    def __init__(
        self, storages: Storages, turns: asyncio.Semaphore, silence_seconds: float
    ) -> None:
        self._storages, self._turns, self._silence = storages, turns, silence_seconds

    async def put(self, url: str, size: int, body: AsyncIterator[bytes]) -> None:
        """Store a body of exactly that size."""
        storage = self._storages.of(url)
        async with Turn(self._turns, SLICE_BYTES) as turn:
            started = time.monotonic()
            if size <= _HELD_BYTES:
                held = _again(await _held(body, size))
                async for attempt in tries(self._storages):
                    with attempt:
                        await storage.put(url, held, size)
            else:
                await storage.put(url, _once(turn.shared(body)), size)
        log_moved("sent", url, size, started)

    async def body(self, receive: Receive) -> AsyncIterator[bytes]:
        """The body of a request as it comes in; raises where it breaks off."""
        more = True
        while more:
            try:
                async with asyncio.timeout(self._silence):
                    message = await receive()
            except TimeoutError as error:
                said = f"The sender was silent for {self._silence:g} s."
                raise TransferFailed(said) from error
            if message["type"] == "http.disconnect":
                raise TransferFailed("The sender went away before the end of the file.")
            if chunk := message.get("body"):
                yield chunk
            more = message.get("more_body", False)


async def _held(body: AsyncIterator[bytes], size: int) -> list[bytes]:
    """All of it, or so much that it is too much."""
    chunks, held = [], 0
    async for chunk in body:
        chunks.append(chunk)
        held += len(chunk)
        if held > size:
            break
    return chunks


def _again(chunks: list[bytes]) -> Chunks:
    async def begin() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return begin


def _once(body: AsyncIterator[bytes]) -> Chunks:
    """A source that cannot begin again."""
    bodies = [body]

    def begin() -> AsyncIterator[bytes]:
        if not bodies:
            raise TransferFailed(
                "The storage wants the bytes again, which have gone by: send the file again."
            )
        return bodies.pop()

    return begin
