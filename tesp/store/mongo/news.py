"""News for the dispatcher: from this process at once, from all others by a change stream.

The relay hears of every event, by the stream alone.

A change of this process comes twice, by itself and in the stream; the second is dropped. A
stream that breaks is opened again, and its break counts as news: something may have been
missed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from tesp.store.mongo import queues
from tesp.store.mongo.clock import ahead_seconds
from tesp.store.mongo.connection import Collections, raw
from tesp.store.wakeups import Wakeups
from tesp.tes.states import INITIAL, TERMINAL, State

_log = logging.getLogger(__name__)

_TOLD = frozenset(s.value for s in {INITIAL, State.CANCELING, *TERMINAL})
_UPDATED = "updateDescription.updatedFields"
_CHANGES: list[dict[str, Any]] = [
    {
        "$match": {
            "$or": [
                {"operationType": {"$in": ["insert", "replace"]}},
                {"operationType": "update", f"{_UPDATED}.events": {"$exists": True}},
            ]
        }
    },
    {
        "$project": {
            "documentKey": 1,
            "fullDocument.state": 1,
            "fullDocument.events": 1,
            "fullDocument.due": 1,
            f"{_UPDATED}.state": 1,
            f"{_UPDATED}.events": 1,
            f"{_UPDATED}.due": 1,
        }
    },
]
_AWAIT_MILLISECONDS = 1000
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_OPENING_SECONDS = 5.0
# What is due is looked at a little later, so that it is due by the server's clock too.
_SLACK_SECONDS = 0.005
_REMEMBERED = 5000


class News:
    """Follows the changes from the first `wait` on."""

    def __init__(self, db: Collections) -> None:
        self._db = db
        self._wakeups = Wakeups(time.monotonic, [])
        self._written = Wakeups(time.monotonic, [])
        self._heard: dict[tuple[str, int], None] = {}
        self._opened = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._behind_seconds = 0.0  # our monotonic clock, as seen from the server's

    def tell(self, task_id: str, number: int, delay_seconds: float = 0.0) -> None:
        """A change, by the number of its event; the same one is told once."""
        if (task_id, number) in self._heard:
            del self._heard[task_id, number]
            return
        self._heard[task_id, number] = None
        if len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        self._wake(delay_seconds)

    def _wake(self, delay_seconds: float) -> None:
        late = delay_seconds + _SLACK_SECONDS
        self._wakeups.add([time.monotonic() + late if delay_seconds > 0 else 0.0])

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for news; False at the timeout. The first call opens the stream."""
        await self._begin()
        return await self._wakeups.wait(timeout_seconds)

    async def written(self, timeout_seconds: float) -> bool:
        """Wait until a task may have an event more; False at the timeout."""
        await self._begin()
        return await self._written.wait(timeout_seconds)

    async def _begin(self) -> None:
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())
        if not self._opened.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._opened.wait(), _OPENING_SECONDS)

    async def close(self) -> None:
        """Follow no longer."""
        while self._follower is not None and not self._follower.done():
            # The driver has been seen to lose a cancellation that meets its connecting.
            self._follower.cancel()
            await asyncio.wait([self._follower], timeout=_SHORTEST_PAUSE)

    async def _follow(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._listen()
                pause = _SHORTEST_PAUSE
            except PyMongoError as error:
                _log.warning("MongoDB's change stream broke: %s", error)
                pause = min(pause * 2, _LONGEST_PAUSE)
            self._wake(0)
            self._written.add([0.0])
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Follow one stream until it ends."""
        # A stream has no end to be in time for.
        with pymongo.timeout(None):
            stream = await raw(self._db.tasks).watch(
                _CHANGES, max_await_time_ms=_AWAIT_MILLISECONDS
            )
            async with stream:
                await self._look()
                self._written.add([0.0])
                self._opened.set()
                while stream.alive:
                    # One wait for the next change is as long as the server awaits one: no timeout
                    # of the driver's is met by silence.
                    if (change := await stream.try_next()) is not None:
                        self._hear(change)

    async def _look(self) -> None:
        """See what was there before the stream."""
        self._behind_seconds = await ahead_seconds(self._server_time, time.monotonic)
        if await queues.work_at_hand(self._db):
            self._wake(0)
        for due in await queues.to_come(self._db):
            self._wake(self._until(due))

    async def _server_time(self) -> float:
        hello = await self._db.client.admin.command("hello")
        there: datetime = hello["localTime"]
        return there.replace(tzinfo=UTC).timestamp()

    def _hear(self, change: Mapping[str, Any]) -> None:
        seen = change.get("fullDocument") or change["updateDescription"]["updatedFields"]
        self._written.add([0.0])
        if seen.get("state") not in _TOLD:
            return
        due = seen.get("due")
        delay = self._until(due) if due is not None else 0.0
        self.tell(change["documentKey"]["_id"], seen.get("events", 0), delay)

    def _until(self, due: int) -> float:
        return max(0.0, due / 1000 - self._behind_seconds - time.monotonic())
