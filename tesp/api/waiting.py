"""Waiting for tasks to change: any number of requests, one reader of the event log for all.

The log says which tasks to look at again, whichever process changed them; nothing is asked of
the store for a task at which nothing happens, and nothing at all while nobody waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from tesp.errors import StoreError
from tesp.store import EventLog

T = TypeVar("T")
_log = logging.getLogger(__name__)

MOST_SECONDS = 60
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_PAUSE_GROWTH = 1.3


class Waiting:
    """Those who wait in this process, until it is `over`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._follower: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()
        self.over = asyncio.Event()

    async def until(
        self,
        task_id: str,
        look: Callable[[], Awaitable[T]],
        enough: Callable[[T], bool],
        most: float,
    ) -> T:
        """What `look` sees of a task as soon as it is enough, or after `most` seconds as it is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + most
        async with self._news_of(task_id) as news:
            while True:
                news.clear()
                seen = await look()
                if enough(seen) or self.over.is_set() or loop.time() >= deadline:
                    return seen
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await news.wait()

    def end(self) -> None:
        """Have everybody answered now: the service is about to end."""
        self.over.set()
        self._wake(list(self._waiters))

    @asynccontextmanager
    async def _news_of(self, task_id: str) -> AsyncIterator[asyncio.Event]:
        """Set at each change of the task from here on."""
        news = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(news)
        try:
            await self._begin()
            yield news
        finally:
            self._waiters[task_id].discard(news)
            if not self._waiters[task_id]:
                del self._waiters[task_id]

    async def _begin(self) -> None:
        """See to it that the log is followed from a place before this call's end."""
        async with self._beginning:
            if self._follower is None or self._follower.done():
                self._follower = asyncio.create_task(self._follow(await self._log.end()))

    async def _follow(self, position: int) -> None:
        """Read the log while somebody waits."""
        pause = _SHORTEST_PAUSE
        while self._waiters:
            try:
                entries = await self._log.read(position)
            except StoreError as error:
                _log.warning("The event log cannot be read just now: %s", error)
                entries, pause = (), _LONGEST_PAUSE
            if entries:
                position = entries[-1].sequence
                self._wake({entry.event.task for entry in entries})
                pause = _SHORTEST_PAUSE
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)

    def _wake(self, task_ids: "set[str] | list[str]") -> None:
        for task_id in task_ids:
            for news in self._waiters.get(task_id, ()):
                news.set()
