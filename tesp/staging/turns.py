"""Turns: so many transfers at once, and none that keeps all others waiting."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

_SLICE_BYTES = 64 << 20


class Turn:
    """One of the transfers at once. A large one steps back now and then while others wait."""

    def __init__(self, turns: asyncio.Semaphore, slice_bytes: int = _SLICE_BYTES) -> None:
        self._turns, self._slice_bytes = turns, slice_bytes
        self._held = False

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give()

    async def shared(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same chunks; after each slice of them, whoever waits goes first."""
        moved = 0
        async for chunk in chunks:
            yield chunk
            moved += len(chunk)
            if moved >= self._slice_bytes and self._turns.locked():
                moved = 0
                self._give()
                await self._take()

    async def _take(self) -> None:
        await self._turns.acquire()
        self._held = True

    def _give(self) -> None:
        if self._held:
            self._held = False
            self._turns.release()
