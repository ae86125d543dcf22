"""The embedded store: one SQLite file, owned by one process.

All writes go through one thread, which commits in groups; reads go through a few threads. A
write that is acknowledged has reached the disk.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from tesp.errors import StoreError
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
from tesp.store.sqlite import events, figures, leases, pages, queues, tasks, transfers
from tesp.store.sqlite.ownership import MOUNTS, Ownership, refuse_network
from tesp.store.sqlite.readers import Readers
from tesp.store.sqlite.schema import open_writer
from tesp.store.sqlite.writer import Done, Writer
from tesp.store.wakeups import Wakeups
from tesp.tes.states import INITIAL, State
from tesp.tes.views import TaskText, View

T = TypeVar("T")

_READERS = 3
_AT_ONCE = 0.0


class SqliteStore:
    """All contracts over one file. It belongs to the event loop that opened it."""

    def __init__(self, file: Path, taken: "Taken", clock: Callable[[], float]) -> None:
        self._ownership = taken.ownership
        self._clock = clock
        self._wakeups = Wakeups(clock, taken.wakes)
        self._written = Wakeups(clock, [_AT_ONCE])
        self._readers = Readers(file, _READERS)
        self._writer = Writer(taken.connection, self._wakeups.add)
        self._last_owner: str | None = None

    @classmethod
    async def open(
        cls, file: Path, *, clock: Callable[[], float] = time.time, mounts: Path = MOUNTS
    ) -> Self:
        """Open the file, made where it is not there; all leases in it are over.

        Raises StoreLocked where another process has it open, SettingsError where its file
        system cannot be trusted, StoreError where it is not ours or cannot be read.
        """
        taken = await asyncio.to_thread(_take, file, clock, mounts)
        try:
            return cls(file, taken, clock)
        except StoreError:
            taken.connection.close()
            taken.ownership.release()
            raise

    async def close(self) -> None:
        """Finish what waits, and let go of the file. Safe to call again."""
        await self._readers.close()
        await self._writer.close()
        self._ownership.release()

    async def create(self, task: NewTask) -> str:
        """Store a task with its first event."""
        (task_id,) = await self.create_many([task])
        return task_id

    async def create_many(self, new: Sequence[NewTask]) -> Sequence[str]:
        """As many creations, in one transaction: all or none."""

        def work(db: sqlite3.Connection) -> Done[Sequence[str]]:
            now = self._clock()
            wakes = {_wake(now, task.delay_seconds) for task in new}
            return Done([tasks.create(db, task, now) for task in new], tuple(wakes))

        return await self._told(work) if new else ()

    async def get(self, task_id: str, view: View) -> TaskText | None:
        """One task."""
        return await self._readers.run(lambda db: tasks.get(db, task_id, view))

    async def get_many(self, ids: Sequence[str], view: View) -> Mapping[str, TaskText]:
        """Some tasks by id."""
        return await self._readers.run(lambda db: pages.named(db, ids, view))

    async def page(self, query: TaskQuery) -> Page:
        """A page of tasks."""
        return await self._readers.run(lambda db: pages.page(db, query))

    async def cancel(self, task_id: str) -> Cancel:
        """Apply Transition.CANCEL."""

        def work(db: sqlite3.Connection) -> Done[Cancel]:
            came = tasks.cancel(db, task_id, self._clock())
            return Done(came, (_AT_ONCE,) if came in (Cancel.ENDED, Cancel.ASKED) else ())

        return await self._told(work)

    async def queued(self, per_owner: int, owners: int = 64) -> Sequence[Candidate]:
        """Tasks that are due."""
        after, now = self._last_owner, self._clock()
        found, self._last_owner = await self._readers.run(
            lambda db: queues.queued(db, per_owner, owners, after, now)
        )
        return found

    async def claim(
        self, task_id: str, backend: str, holder: str, lease_seconds: float
    ) -> Claim | None:
        """Apply Transition.CLAIM with a raised epoch."""

        def work(db: sqlite3.Connection) -> Done[Claim | None]:
            expires = time.monotonic() + lease_seconds
            return Done(leases.claim(db, task_id, backend, holder, self._clock(), expires))

        return await self._told(work)

    async def adopt(
        self, backends: Sequence[str], holder: str, lease_seconds: float, limit: int = 64
    ) -> Sequence[Claim]:
        """Take over attempts whose lease has run out."""

        def work(db: sqlite3.Connection) -> Done[Sequence[Claim]]:
            beat = time.monotonic()
            expires = beat + lease_seconds
            return Done(leases.adopt(db, backends, holder, limit, beat, expires))

        return await self._writer.run(work)

    async def stranded(self) -> Sequence[str]:
        """The backends of attempts whose lease has run out."""
        beat = time.monotonic()
        return await self._readers.run(lambda db: leases.stranded(db, beat))

    async def renew(self, fences: Sequence[Fence], lease_seconds: float) -> Sequence[Renewal]:
        """Prolong leases."""
        return await self._writer.run(
            lambda db: Done(leases.renew(db, fences, time.monotonic() + lease_seconds))
        )

    async def write(self, fence: Fence, change: Change) -> Written:
        """One guarded write with its event."""

        def work(db: sqlite3.Connection) -> Done[Written]:
            now = self._clock()
            written = leases.write(db, fence, change, now)
            if not (written.applied and leases.ends(written.state)):
                return Done(written)
            delay = change.delay_seconds if written.state is INITIAL else 0.0
            return Done(written, (_wake(now, delay),))

        return await (self._writer.run(work) if change.transition is None else self._told(work))

    async def tail(self, fence: Fence, tails: Mapping[str, str]) -> None:
        """Replace the live tails."""

        def work(db: sqlite3.Connection) -> Done[None]:
            leases.tail(db, fence, tails)
            return Done(None)

        await self._writer.run(work)

    async def changed(self, timeout_seconds: float) -> bool:
        """Wait until there may be something to look at."""
        return await self._wakeups.wait(timeout_seconds)

    async def hold(self, name: str, holder: str, lease_seconds: float) -> bool:
        """Take or prolong a named lease."""

        def work(db: sqlite3.Connection) -> Done[bool]:
            beat = time.monotonic()
            return Done(leases.hold(db, name, holder, beat, beat + lease_seconds))

        return await self._writer.run(work)

    async def secret(self, name: str) -> bytes:
        """Random bytes of this file."""
        return await self._writer.run(lambda db: Done(transfers.secret(db, name)))

    async def current(self, task_id: str) -> Current | None:
        """The attempt that may fetch and send."""
        return await self._readers.run(lambda db: transfers.current(db, task_id))

    async def remark(self, task_id: str, number: int, sentence: str) -> None:
        """Keep a sentence on an attempt's transfer."""

        def work(db: sqlite3.Connection) -> Done[None]:
            transfers.remark(db, task_id, number, sentence)
            return Done(None)

        await self._writer.run(work)

    async def remarks(self, task_id: str, number: int) -> Sequence[str]:
        """The sentences kept on an attempt."""
        return await self._readers.run(lambda db: transfers.remarks(db, task_id, number))

    async def relay(self, limit: int = 1000) -> int:
        """Move events from the outbox to the log."""
        return await self._writer.run(lambda db: Done(events.relay(db, limit)))

    async def written(self, timeout_seconds: float) -> bool:
        """Wait until there may be more in the outbox."""
        return await self._written.wait(timeout_seconds)

    async def _told(self, work: Callable[[sqlite3.Connection], Done[T]]) -> T:
        """Do a write that may have put an event into the outbox."""
        try:
            return await self._writer.run(work)
        finally:
            # Of one whose caller is gone, too: it happens all the same.
            self._written.add([_AT_ONCE])

    async def end(self) -> int:
        """The sequence that the log has come to."""
        return await self._readers.run(events.end)

    async def first(self) -> int:
        """The first sequence that is still there."""
        return await self._readers.run(events.first)

    async def read(self, after: int, limit: int = 1000) -> Sequence[Logged]:
        """Events of the log behind `after`."""
        return await self._readers.run(lambda db: events.read(db, after, limit))

    async def history(self, task_id: str) -> Sequence[Event]:
        """All events of one task."""
        return await self._readers.run(lambda db: events.history(db, task_id))

    async def forget_events(self, older_than: float) -> int:
        """Take old events out of the log, a few at a time: other writes go in between."""
        total = 0
        while found := await self._writer.run(lambda db: Done(events.forget(db, older_than))):
            total += found
        return total

    async def cursor(self, name: str) -> int:
        """How far a reader of the log has come."""
        return await self._readers.run(lambda db: events.cursor(db, name))

    async def begin_cursor(self, name: str) -> int:
        """The same; a new one is made at the log's end."""
        return await self._writer.run(lambda db: Done(events.begin_cursor(db, name, self._clock())))

    async def move_cursor(self, name: str, sequence: int) -> None:
        """Note how far a reader has come."""

        def work(db: sqlite3.Connection) -> Done[None]:
            events.move_cursor(db, name, sequence, self._clock())
            return Done(None)

        await self._writer.run(work)

    async def forget_cursors(self, untouched_since: float) -> int:
        """Drop the cursors that are nobody's."""
        return await self._writer.run(lambda db: Done(events.forget_cursors(db, untouched_since)))

    async def counts(self) -> Mapping[State, int]:
        """How many tasks are in each state."""
        return await self._readers.run(figures.counts)

    async def standings(self) -> Sequence[Standing]:
        """How far every reader of the log has come."""
        return await self._readers.run(figures.standings)

    async def note_reading(self, name: str, text: str) -> None:
        """Keep what was measured."""

        def work(db: sqlite3.Connection) -> Done[None]:
            figures.note(db, name, text, self._clock())
            return Done(None)

        await self._writer.run(work)

    async def readings(self) -> Sequence[Reading]:
        """What was measured last."""
        return await self._readers.run(figures.readings)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that is ours, with the connection that writes and what is to be done in it."""

    ownership: Ownership
    connection: sqlite3.Connection
    wakes: Sequence[float]


def _wake(now: float, delay_seconds: float) -> float:
    """When to look at what is due after a delay."""
    return now + delay_seconds if delay_seconds > 0 else _AT_ONCE


def _take(file: Path, clock: Callable[[], float], mounts: Path) -> Taken:
    file.parent.mkdir(parents=True, exist_ok=True)
    refuse_network(file.parent, mounts)
    ownership = Ownership(file)
    try:
        connection = open_writer(file)
        leases.void(connection)
        return Taken(ownership, connection, queues.wakes(connection, clock()))
    except StoreError:
        ownership.release()
        raise
