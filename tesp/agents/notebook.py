"""An agent's notebook: a small SQLite file of its own, and what it has still to say.

What follows from one message is written in one transaction with what is to be told of it: an
agent that is killed at any moment says everything, each under the same id however often.
"""

import asyncio
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import orjson

from tesp.bus import Bus, Message
from tesp.errors import BusRefused, BusUnavailable, MessageRefused, SettingsError, StoreError

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

_OUTBOX = "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, message BLOB NOT NULL)"
_AT_ONCE = 100
_BUSY_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_FORGET_SECONDS = 3600.0
_DAY = 86400.0


def say(db: sqlite3.Connection, message: Message) -> None:
    """Say it once this transaction is durable."""
    db.execute("INSERT INTO outbox (message) VALUES (?)", (orjson.dumps(message),))


class Notebook:
    """One file, one thread, one process. What fails raises StoreError."""

    def __init__(self, file: Path, thread: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._file, self._thread, self._db = file, thread, db
        self._said = asyncio.Event()
        self._said.set()

    @classmethod
    @asynccontextmanager
    async def opened(cls, file: Path, schema: str) -> "AsyncIterator[Notebook]":
        """The notebook in this file, made where there is none; raises SettingsError where it
        cannot be used, or another process has it."""
        thread = ThreadPoolExecutor(1, "notebook")
        loop = asyncio.get_running_loop()
        try:
            lock, db = await loop.run_in_executor(thread, _open, file, schema)
            try:
                yield cls(file, thread, db)
            finally:
                await loop.run_in_executor(thread, db.close)
                os.close(lock)
        finally:
            thread.shutdown()

    async def read(self, work: Work[T]) -> T:
        """What this finds."""
        return await self._run(work)

    async def write(self, work: Work[T]) -> T:
        """Do it whole or not at all; it is on disk when this returns."""

        def transaction(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                value = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return value

        value = await self._run(transaction)
        self._said.set()
        return value

    async def speak(self, bus: Bus) -> None:
        """Publish what is to be said, in order, for ever."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._said.clear()
            try:
                while rows := await self.read(_oldest):
                    await self._publish(bus, rows)
                pause = _FIRST_PAUSE_SECONDS
                await self._said.wait()
            except (BusUnavailable, BusRefused, StoreError) as error:
                level = logging.WARNING if pause == _FIRST_PAUSE_SECONDS else logging.DEBUG
                _log.log(level, "What is to be said waits: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def forget_for_ever(
        self, forget: Callable[[sqlite3.Connection, float], object], days: float
    ) -> None:
        """Every hour, and at once, have what is older than some days forgotten: `forget` is given
        the time since 1970 before which nothing is kept."""

        def old(db: sqlite3.Connection) -> None:
            forget(db, time.time() - days * _DAY)

        while True:
            # What cannot be forgotten now can be later.
            with suppress(StoreError):
                await self.write(old)
            await asyncio.sleep(_FORGET_SECONDS)

    async def _publish(self, bus: Bus, rows: Sequence[tuple[int, Message]]) -> None:
        """Publish them; one that is at fault is left out and stops no other."""
        try:
            await bus.publish([message for _, message in rows])
        except MessageRefused as error:
            if len(rows) > 1:
                for row in rows:
                    await self._publish(bus, [row])
                return
            _log.error("%s is not said: %s", rows[0][1].id, error)
        last = rows[-1][0]
        await self._run(lambda db: db.execute("DELETE FROM outbox WHERE number <= ?", (last,)))

    async def _run(self, work: Work[T]) -> T:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, work, self._db)
        except sqlite3.Error as error:
            raise StoreError(f"{self._file}: {error}") from error


def _open(file: Path, schema: str) -> tuple[int, sqlite3.Connection]:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"{file} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        db = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(f"{_OUTBOX};{schema}")
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(
            f"{file} is another agent's that runs: end that one, or give this one a name or a "
            "store of its own"
        ) from None
    except sqlite3.Error as error:
        os.close(lock)
        raise SettingsError(f"{file} cannot be used: {error}") from error
    return lock, db


def _oldest(db: sqlite3.Connection) -> list[tuple[int, Message]]:
    rows = db.execute("SELECT number, message FROM outbox ORDER BY number LIMIT ?", (_AT_ONCE,))
    return [(number, Message(**orjson.loads(text))) for number, text in rows]
