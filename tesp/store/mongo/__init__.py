"""The store of a site: MongoDB, through Beanie, for any number of processes at once.

A change of state and its event are one update of one document, so nothing needs a
transaction. An acknowledged write is on the disks of a majority of the replica set.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from tesp.events import Event
from tesp.store import (
    Cancel,
    Candidate,
    Change,
    Claim,
    Current,
    Fence,
    Logged,
    NewTask,
    Page,
    Reading,
    Renewal,
    Standing,
    TaskQuery,
    Written,
)
from tesp.store.mongo import attempts, events, figures, leases, pages, queues, tasks, transfers
from tesp.store.mongo.connection import Collections, Errands, connect
from tesp.store.mongo.news import News
from tesp.tes.states import INITIAL, State
from tesp.tes.views import TaskText, View

_AT_ONCE = 16  # creations of `create_many` under way


class MongoStore:
    """All contracts over one database. It belongs to the event loop that opened it."""

    def __init__(self, collections: Collections) -> None:
        self._db = collections
        self._news = News(collections)
        self._errands = Errands()
        self._last_owner: str | None = None
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @classmethod
    async def open(cls, uri: str, database: str) -> Self:
        """Connect, and make the indexes that are missing.

        Raises StoreError where the server is out of reach, refuses, or is no replica set.
        """
        return cls(await connect(uri, database))

    async def close(self) -> None:
        """Finish what is under way, and let go of the connections. Safe to call again."""
        await self._news.close()
        await self._errands.finish()
        await self._db.client.close()

    async def create(self, task: NewTask) -> str:
        """Store a task with its first event."""
        task_id, new = await self._errands.run(tasks.create(self._db, task))
        if new:
            self._news.tell(task_id, 1, task.delay_seconds)
        return task_id

    async def create_many(self, new: Sequence[NewTask]) -> Sequence[str]:
        """As many creations, some at a time."""
        return await asyncio.gather(*(self._create_in_turn(task) for task in new))

    async def _create_in_turn(self, task: NewTask) -> str:
        async with self._turns:
            return await self.create(task)

    async def get(self, task_id: str, view: View) -> TaskText | None:
        """One task."""
        return await self._errands.run(tasks.get(self._db, task_id, view))

    async def get_many(self, ids: Sequence[str], view: View) -> Mapping[str, TaskText]:
        """Some tasks by id."""
        found = await self._errands.run(tasks.show(self._db, list(dict.fromkeys(ids)), view))
        return {task.id: task for task in found}

    async def page(self, query: TaskQuery) -> Page:
        """A page of tasks."""
        return await self._errands.run(pages.page(self._db, query))

    async def cancel(self, task_id: str) -> Cancel:
        """Apply Transition.CANCEL."""
        came, number = await self._errands.run(tasks.cancel(self._db, task_id))
        if number:
            self._news.tell(task_id, number)
        return came

    async def queued(self, per_owner: int, owners: int = 64) -> Sequence[Candidate]:
        """Tasks that are due."""
        found, self._last_owner = await self._errands.run(
            queues.queued(self._db, per_owner, owners, self._last_owner)
        )
        return found

    async def claim(
        self, task_id: str, backend: str, holder: str, lease_seconds: float
    ) -> Claim | None:
        """Apply Transition.CLAIM with a raised epoch."""
        return await self._errands.run(
            attempts.claim(self._db, task_id, backend, holder, lease_seconds)
        )

    async def adopt(
        self, backends: Sequence[str], holder: str, lease_seconds: float, limit: int = 64
    ) -> Sequence[Claim]:
        """Take over attempts whose lease has run out."""
        return await self._errands.run(
            attempts.adopt(self._db, backends, holder, lease_seconds, limit)
        )

    async def stranded(self) -> Sequence[str]:
        """The backends of attempts whose lease has run out."""
        return await self._errands.run(leases.stranded(self._db))

    async def renew(self, fences: Sequence[Fence], lease_seconds: float) -> Sequence[Renewal]:
        """Prolong leases."""
        return await self._errands.run(leases.renew(self._db, fences, lease_seconds))

    async def write(self, fence: Fence, change: Change) -> Written:
        """One guarded write with its event."""
        outcome = await self._errands.run(attempts.write(self._db, fence, change))
        if outcome.ended:
            delay = change.delay_seconds if outcome.written.state is INITIAL else 0.0
            self._news.tell(fence.task_id, outcome.number, delay)
        return outcome.written

    async def tail(self, fence: Fence, tails: Mapping[str, str]) -> None:
        """Replace the live tails."""
        await self._errands.run(attempts.tail(self._db, fence, tails))

    async def changed(self, timeout_seconds: float) -> bool:
        """Wait until there may be something to look at."""
        return await self._news.wait(timeout_seconds)

    async def hold(self, name: str, holder: str, lease_seconds: float) -> bool:
        """Take or prolong a named lease."""
        return await self._errands.run(leases.hold(self._db, name, holder, lease_seconds))

    async def secret(self, name: str) -> bytes:
        """Random bytes of this database."""
        return await self._errands.run(transfers.secret(self._db, name))

    async def current(self, task_id: str) -> Current | None:
        """The attempt that may fetch and send."""
        return await self._errands.run(transfers.current(self._db, task_id))

    async def remark(self, task_id: str, number: int, sentence: str) -> None:
        """Keep a sentence on an attempt's transfer."""
        await self._errands.run(transfers.remark(self._db, task_id, number, sentence))

    async def remarks(self, task_id: str, number: int) -> Sequence[str]:
        """The sentences kept on an attempt."""
        return await self._errands.run(transfers.remarks(self._db, task_id, number))

    async def relay(self, limit: int = 1000) -> int:
        """Move events from the outbox to the log."""
        return await self._errands.run(events.relay(self._db, limit))

    async def written(self, timeout_seconds: float) -> bool:
        """Wait until there may be more in the outbox."""
        return await self._news.written(timeout_seconds)

    async def end(self) -> int:
        """The sequence that the log has come to."""
        return await self._errands.run(events.end(self._db))

    async def first(self) -> int:
        """The first sequence that is still there."""
        return await self._errands.run(events.first(self._db))

    async def read(self, after: int, limit: int = 1000) -> Sequence[Logged]:
        """Events of the log behind `after`."""
        return await self._errands.run(events.read(self._db, after, limit))

    async def history(self, task_id: str) -> Sequence[Event]:
        """All events of one task."""
        return await self._errands.run(events.history(self._db, task_id))

    async def forget_events(self, older_than: float) -> int:
        """Take old events out of the log."""
        return await self._errands.run(events.forget(self._db, older_than))

    async def cursor(self, name: str) -> int:
        """How far a reader of the log has come."""
        return await self._errands.run(events.cursor(self._db, name))

    async def begin_cursor(self, name: str) -> int:
        """The same; a new one is made at the log's end."""
        return await self._errands.run(events.begin_cursor(self._db, name))

    async def move_cursor(self, name: str, sequence: int) -> None:
        """Note how far a reader has come."""
        await self._errands.run(events.move_cursor(self._db, name, sequence))

    async def forget_cursors(self, untouched_since: float) -> int:
        """Drop the cursors that are nobody's."""
        return await self._errands.run(events.forget_cursors(self._db, untouched_since))

    async def counts(self) -> Mapping[State, int]:
        """How many tasks are in each state."""
        return await self._errands.run(figures.counts(self._db))

    async def standings(self) -> Sequence[Standing]:
        """How far every reader of the log has come."""
        return await self._errands.run(figures.standings(self._db))

    async def note_reading(self, name: str, text: str) -> None:
        """Keep what was measured."""
        await self._errands.run(figures.note(self._db, name, text))

    async def readings(self) -> Sequence[Reading]:
        """What was measured last."""
        return await self._errands.run(figures.readings(self._db))
