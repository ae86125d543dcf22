"""A few threads that read, each over a connection of its own."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tesp.errors import StoreError
from tesp.store.sqlite.schema import open_reader
from tesp.store.sqlite.writer import Done, Job

T = TypeVar("T")


class Readers:
    """Runs closures that only read; each sees every write that was acknowledged before it."""

    def __init__(self, file: Path, threads: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._connections = [open_reader(file) for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(c,), name="store-reader", daemon=True)
            for c in self._connections
        ]
        self._open = True
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do one read."""
        if not self._open:
            raise StoreError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(Job(lambda db: Done(work(db)), future))  # type: ignore[arg-type]
        return await future

    async def close(self) -> None:
        """Do what waits, then end the threads and close their connections."""
        if self._open:
            self._open = False
            for _ in self._threads:
                self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self, connection: sqlite3.Connection) -> None:
        while job := self._jobs.get():
            try:
                job.done = job.work(connection)
            except Exception as error:  # noqa: BLE001 - every error goes to the caller
                job.fail(error)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            try:
                self._loop.call_soon_threadsafe(job.settle)
            except RuntimeError:
                # The loop is closed: nobody is left to be told.
                continue
        connection.close()
