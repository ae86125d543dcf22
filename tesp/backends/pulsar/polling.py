"""Turns to look at jobs: those of one Pulsar one after another, as they are due."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_AT_ONCE = 2
_LOOKS_A_SECOND = 200.0
_SHORTEST_SECONDS = 0.01
_LONGEST_SECONDS = 3.0
_SHARE_OF_AGE = 0.05


class Polling:
    """Who looks at a job waits here until it is due and its turn: the longest due goes first.

    So many look at once, and all of them together so often a second, however many jobs there
    are: Pulsar has other things to do with its few threads.
    """

    def __init__(self, at_once: int = _AT_ONCE, longest_seconds: float = _LONGEST_SECONDS) -> None:
        self._free = at_once
        self._longest_seconds = longest_seconds
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._followed = 0

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """One more job is looked at again and again."""
        self._followed += 1
        try:
            yield
        finally:
            self._followed -= 1

    def pause(self, age: float) -> float:
        """How long to wait until a job of that age is due again, in seconds."""
        by_age = min(self._longest_seconds, age * _SHARE_OF_AGE)
        return max(_SHORTEST_SECONDS, self._followed / _LOOKS_A_SECOND, by_age)

    @asynccontextmanager
    async def turn(self, due: float) -> AsyncIterator[None]:
        """Wait for the time `due` of the loop's clock, and then for a turn."""
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await self._take(due)
        try:
            yield
        finally:
            self._give()

    async def _take(self, due: float) -> None:
        if self._free:
            self._free -= 1
            return
        called = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), called))
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._give()
            raise

    def _give(self) -> None:
        while self._waiting:
            *_, called = heapq.heappop(self._waiting)
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
