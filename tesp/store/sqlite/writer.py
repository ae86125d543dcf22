"""The one thread that writes: it commits in one go whatever waits, and then answers."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tesp.errors import StoreError

T = TypeVar("T")

_MOST = 512  # writes in one commit: bounds how long the first of them waits


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a write gives its caller, and when there is something to look at because of it.

    `wakes` are times by the store's clock, 0 for at once.
    """

    value: T
    wakes: tuple[float, ...] = ()


@dataclass(slots=True)
class Job:
    """A closure over a connection, with the future of its caller."""

    work: Callable[[sqlite3.Connection], Done[object]]
    future: asyncio.Future[object]
    done: Done[object] | None = None
    error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Note why it came to nothing."""
        self.done, self.error = None, as_store_error(error)

    def settle(self) -> None:
        """Tell the caller, unless he has gone away."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        elif self.done is not None:
            self.future.set_result(self.done.value)


def as_store_error(error: Exception) -> Exception:
    """What a caller gets to see of an error under the store."""
    if isinstance(error, sqlite3.Error | UnicodeEncodeError | OverflowError):
        translated = StoreError(f"the database refused: {error}")
        translated.__cause__ = error
        return translated
    return error


class Writer:
    """Runs closures one after another in groups, each group in one durable transaction.

    A closure that raises is rolled back and fails alone: its group is then undone and run once
    more with a savepoint around each, which would cost all others half of their speed. So a
    closure may run twice. A caller is answered after the commit of his group; one that is
    cancelled while he waits leaves his write to happen or not.
    """

    def __init__(
        self, connection: sqlite3.Connection, notify: Callable[[Sequence[float]], None]
    ) -> None:
        """`notify` is called in the event loop with the times to wake at, after each commit."""
        self._connection = connection
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._open = True
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], Done[T]]) -> T:
        """Do one write; returns when it is durable."""
        if not self._open:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(Job(work, future))  # type: ignore[arg-type]
        return await future

    async def close(self) -> None:
        """Do what waits, then end the thread and close the connection."""
        if self._open:
            self._open = False
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        more = True
        while more:
            group = [self._jobs.get()]
            while len(group) < _MOST and not self._jobs.empty():
                group.append(self._jobs.get_nowait())
            more = None not in group
            self._answer(self._commit([job for job in group if job is not None]))
        self._connection.close()

    def _commit(self, group: list[Job]) -> list[Job]:
        """Give every job of the group its result or its error."""
        try:
            self._transact(group, _run)
        except Exception:  # noqa: BLE001 - whose error it is comes out below
            self._undo()
            try:
                self._transact(group, _run_alone)
            except sqlite3.Error as error:
                # A full disk, say: nothing of the whole group is stored.
                self._undo()
                for job in group:
                    job.fail(error)
        return group

    def _transact(self, group: list[Job], run: Callable[[sqlite3.Connection, Job], None]) -> None:
        if group:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in group:
                run(self._connection, job)
            self._connection.execute("COMMIT")

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _answer(self, group: list[Job]) -> None:
        if not group:
            return
        try:
            self._loop.call_soon_threadsafe(self._settle, group)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            return

    def _settle(self, group: list[Job]) -> None:
        for job in group:
            job.settle()
        wakes = [time for j in group if j.done is not None for time in j.done.wakes]
        if wakes:
            self._notify(wakes)


def _run(connection: sqlite3.Connection, job: Job) -> None:
    job.done = job.work(connection)


def _run_alone(connection: sqlite3.Connection, job: Job) -> None:
    """Run one job; what it raises undoes that job alone, and is its caller's to see."""
    connection.execute("SAVEPOINT job")
    try:
        _run(connection, job)
    except Exception as error:
        if not connection.in_transaction:
            # SQLite has given up the whole transaction.
            raise
        job.fail(error)
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
