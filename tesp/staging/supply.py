"""The bytes of a put on their way out: counted, watched, and to blame where they fail."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from tesp.errors import StagingError, TransferFailed
from tesp.staging import Chunks

PIECE_BYTES = 256 * 1024


@contextlib.asynccontextmanager
async def closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Chunks whose generator, where they come from one, is closed on the way out."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


class Supply:
    """Chunks of exactly `size` bytes in all, for one put.

    Inside `async with`, a peer that takes nothing for `silence_seconds` is TransferFailed; time
    spent waiting for our own source does not count. Where the source fails, its error comes
    out, whatever the client library made of it on the way.
    """

    def __init__(
        self, source: Chunks, size: int, name: str, silence_seconds: float | None = None
    ) -> None:
        self._source, self._size, self._name = source, size, name
        self._silence = silence_seconds
        self._failure: BaseException | None = None
        self._timeout = asyncio.timeout(None)
        self._handed_out: list[AsyncGenerator[bytes, None]] = []

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._expect_progress()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            said = f"{self._name}: the peer took nothing for {self._silence:g} s"
            raise TransferFailed(said) from late
        finally:
            self._silence = None
            await self._close()
        if isinstance(error, Exception) and self._failure is not None:
            raise self._failure

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning, in pieces small enough for a slow peer to show life."""
        self._failure = None
        self._handed_out.append(self._pieces())
        return self._handed_out[-1]

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        # The last chunk is held back until the size is known to be right: a peer that has all
        # the bytes that it was told of would keep them.
        sent, held = 0, b""
        try:
            async with closing(self._source()) as source:
                while (chunk := await self._next(source)) is not None:
                    sent += len(chunk)
                    if sent > self._size:
                        break
                    for piece in _cut(held):
                        yield piece
                        self._expect_progress()
                    held = chunk
            self._require_all(sent)
            for piece in _cut(held):
                yield piece
                self._expect_progress()
        except Exception as error:
            self._failure = error
            raise

    def _require_all(self, sent: int) -> None:
        if sent != self._size:
            told = f"{sent} bytes or more" if sent > self._size else f"{sent} bytes"
            raise StagingError(f"{self._name}: {told} came instead of {self._size}")

    async def _next(self, source: AsyncIterator[bytes]) -> bytes | None:
        self._expect_progress(pause=True)
        chunk = await anext(source, None)
        self._expect_progress()
        return chunk

    def _expect_progress(self, pause: bool = False) -> None:
        if self._silence is not None and not self._timeout.expired():
            due = asyncio.get_running_loop().time() + self._silence
            self._timeout.reschedule(None if pause else due)

    async def _close(self) -> None:
        for pieces in self._handed_out:
            # The client library may still be inside of one; it closes it itself then.
            with contextlib.suppress(RuntimeError):
                await pieces.aclose()


def _cut(chunk: bytes) -> Iterator[bytes]:
    for at in range(0, len(chunk), PIECE_BYTES):
        yield chunk[at : at + PIECE_BYTES]
