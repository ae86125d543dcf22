"""Feeders: one for each sink, none in the way of another.

A feeder reads the log behind its sink's cursor, and moves the cursor when the sink has confirmed.
So a sink that is away loses nothing, and gets everything in order when it is back; what was under
way at a crash comes again, with the same message id.
"""

import asyncio
import logging
from collections.abc import Sequence

from tesp.agents import Sink, cursor_of
from tesp.agents.tenure import Tenure
from tesp.errors import BusRefused, BusUnavailable, MessageRefused, StoreError
from tesp.store.following import LogNews
from tesp.store.log import CursorStore, Logged

_log = logging.getLogger(__name__)

_BATCH = 200
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 15.0
_LOOK_SECONDS = 60.0
# Who begins his cursor again so often is known to be there, however long his sink is away.
_TOUCH_SECONDS = 3600.0


class Feeder:
    """Feeds one sink while it holds the sink's lease; of all processes one does."""

    def __init__(
        self, sink: Sink, store: CursorStore, news: LogNews, holder: str, lease_seconds: float
    ) -> None:
        self._sink = sink
        self._store = store
        self._news = news
        self._name = cursor_of(sink.name)
        self._tenure = Tenure(store, self._name, holder, lease_seconds)
        self._troubled = False

    async def run(self) -> None:
        """Feed for ever, whenever the lease is ours."""
        await self._tenure.work(self._feed_for_ever)

    async def _feed_for_ever(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._touch_for_ever())
            group.create_task(self._follow())

    async def _touch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_TOUCH_SECONDS)
            try:
                await self._store.begin_cursor(self._name)
            except StoreError as error:
                _log.warning("%s: its cursor cannot be touched: %s", self._name, error)

    async def _follow(self) -> None:
        """Bring what is new to the sink, again and again."""
        pause, position = _FIRST_PAUSE_SECONDS, -1
        while True:
            try:
                if position < 0:
                    position = await self._store.begin_cursor(self._name)
                position = await self._step(position)
                pause = _FIRST_PAUSE_SECONDS
            except (StoreError, BusUnavailable, BusRefused) as error:
                self._trouble(error)
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _step(self, position: int) -> int:
        """Send what lies behind a position, or wait for it; the position after that."""
        entries = await self._store.read(position, _BATCH)
        if not entries:
            await self._news.beyond(position, _LOOK_SECONDS)
            return position
        await self._send(entries)
        if self._troubled:
            _log.info("%s takes events again", self._name)
            self._troubled = False
        last = entries[-1].sequence
        await self._store.move_cursor(self._name, last)
        return last

    async def _send(self, entries: Sequence[Logged]) -> None:
        """Send them; one that is at fault is left out and stops no other."""
        try:
            await self._sink.send(entries)
        except MessageRefused as error:
            if len(entries) == 1:
                (entry,) = entries
                _log.warning("%s: event %s is left out: %s", self._name, entry.event.id, error)
                return
            for entry in entries:
                await self._send([entry])

    def _trouble(self, error: Exception) -> None:
        """Tell once of each time that the sink is away."""
        if not self._troubled:
            _log.warning("%s: events wait in the log: %s", self._name, error)
        self._troubled = True
