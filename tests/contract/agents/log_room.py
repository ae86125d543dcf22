"""A store whose log grows, and what reads it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Self

from tesp.store import NewTask
from tesp.store.following import LogNews
from tesp.store.sqlite import SqliteStore

Close = Callable[[], Awaitable[None]]


class LogRoom:
    """What is begun here ends with the room, and then lets go of what it holds."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.news = store, LogNews(store)
        self._work: dict[str, tuple[asyncio.Task[None], Close | None]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, directory: Path) -> AsyncIterator[Self]:
        """One over a store in this directory."""
        store = await SqliteStore.open(directory / "t.sqlite")
        room = cls(store)
        yield room
        await room.stop()
        await store.close()

    async def add(self, *tasks: NewTask, cancel: bool = False) -> None:
        """Tasks that are there from now on, and the events of that."""
        for task in tasks:
            await self.store.create(task)
            if cancel:
                await self.store.cancel(task.id)
        await self.store.relay()
        self.news.nudge()

    def begin(
        self, name: str, work: Coroutine[None, None, None], close: Close | None = None
    ) -> None:
        """Something that runs until it is stopped."""
        self._work[name] = (asyncio.create_task(work), close)

    async def stop(self, *names: str) -> None:
        """End these in good order; all, where none is named."""
        for name in names or list(self._work):
            running, close = self._work.pop(name)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            if close is not None:
                await close()
