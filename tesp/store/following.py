"""News of the log: one look at its end for all in this process who wait for more."""

import asyncio
import logging

from tesp.errors import StoreError
from tesp.store.log import EventLog

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.25
_PAUSE_GROWTH = 1.3


class LogNews:
    """Looks while somebody waits: often after a nudge or news, ever more seldom without."""

    def __init__(self, log: EventLog, longest_pause: float = LONGEST_PAUSE) -> None:
        self._log = log
        self._longest_pause = longest_pause
        self._end = 0
        self._waiters = 0
        self._grown = asyncio.Event()
        self._nudged = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """The log may grow now."""
        self._nudged.set()

    async def beyond(self, sequence: int, timeout_seconds: float) -> bool:
        """Wait until the log reaches beyond that sequence; False at the timeout."""
        self._waiters += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._end <= sequence:
                    if self._follower is None or self._follower.done():
                        self._follower = asyncio.create_task(self._follow())
                    await self._grown.wait()
        except TimeoutError:
            return False
        finally:
            self._waiters -= 1
        return True

    async def _follow(self) -> None:
        pause = _SHORTEST_PAUSE
        while self._waiters:
            self._nudged.clear()
            if await self._look():
                pause = _SHORTEST_PAUSE
            try:
                async with asyncio.timeout(pause):
                    await self._nudged.wait()
                # The nudge may come a moment before the log has grown.
                pause = _SHORTEST_PAUSE
            except TimeoutError:
                pause = min(self._longest_pause, pause * _PAUSE_GROWTH)

    async def _look(self) -> bool:
        """See how far the log reaches, and tell who waits; whether it has grown."""
        try:
            end = await self._log.end()
        except StoreError as error:
            _log.warning("The event log cannot be read just now: %s", error)
            return False
        if end <= self._end:
            return False
        self._end = end
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
        return True
