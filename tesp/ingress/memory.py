"""What an ingress remembers: a small SQLite file of its own. All methods block."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tesp.errors import BusError

_MOST_WAITING = 10_000
_COUNTS = (
    "SELECT at, mail, received, delivered, dropped, duplicate FROM counts"
    " ORDER BY number DESC LIMIT ?"
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
CREATE TABLE IF NOT EXISTS waiting (
  number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, body BLOB NOT NULL, trusted INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counts (
  number INTEGER PRIMARY KEY, at REAL NOT NULL, mail TEXT NOT NULL, received INTEGER NOT NULL,
  delivered INTEGER NOT NULL, dropped INTEGER NOT NULL, duplicate INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS counts_at ON counts (at);
"""


class MailCount(NamedTuple):
    """A mail: when it came, which it is, and what became of its messages."""

    time: float
    mail: str
    received: int
    delivered: int
    dropped: int
    duplicate: int


def mail_counts(file: Path, limit: int) -> Sequence[MailCount]:
    """The latest mails of a file that another process may write, newest first; none where there
    is no such file. Raises BusError where it cannot be read."""
    if not file.exists():
        return []
    try:
        with contextlib.closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        ) as db:
            return [MailCount(*row) for row in db.execute(_COUNTS, (limit,))]
    except sqlite3.Error as error:
        raise BusError(f"The file {file} cannot be read: {error}.") from error


class Memory:
    """Ids that were seen, bodies that wait to be delivered, counts of mails.

    What it has been told is on disk when the method returns. Raises BusError where the disk is
    of no use, so that senders keep what they have.
    """

    def __init__(self, file: Path, most_waiting: int = _MOST_WAITING) -> None:
        self._file = file
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        with self._translated():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def knows(self, identifier: str) -> bool:
        """Whether it was seen."""
        return bool(self._rows("SELECT 1 FROM seen WHERE id = ?", identifier))

    def remember(self, identifiers: Sequence[str], now: float) -> None:
        """These were seen."""
        with self._transaction() as db:
            rows = [(one, now) for one in identifiers]
            db.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)

    def keep(self, identifier: str, body: bytes, trusted: bool, now: float) -> bool:
        """Keep a body until it is delivered; False where it was seen before.

        Raises BusError where so many wait already that the disk would be full of them.
        """
        with self._transaction() as db:
            added = db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (identifier, now))
            if added.rowcount == 0:
                return False
            count = "SELECT COUNT(*) FROM (SELECT 1 FROM waiting LIMIT ?)"
            if db.execute(count, (self._most_waiting,)).fetchone()[0] >= self._most_waiting:
                raise BusError(f"{self._most_waiting} events wait already")
            row = (identifier, body, trusted)
            db.execute("INSERT INTO waiting (id, body, trusted) VALUES (?, ?, ?)", row)
            return True

    def oldest(self) -> tuple[str, bytes, bool] | None:
        """The id and the body that wait longest, and whether its sender is trusted."""
        rows = self._rows("SELECT id, body, trusted FROM waiting ORDER BY number LIMIT 1")
        return (rows[0][0], rows[0][1], bool(rows[0][2])) if rows else None

    def delivered(self, identifier: str) -> None:
        """It waits no more."""
        with self._transaction() as db:
            db.execute("DELETE FROM waiting WHERE id = ?", (identifier,))

    def count(self, mail: str, counts: Sequence[int], now: float) -> None:
        """What became of a mail: received, delivered, dropped, duplicate."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO counts (at, mail, received, delivered, dropped, duplicate)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (now, mail, *counts),
            )

    def counts(self, limit: int = 100) -> Sequence[MailCount]:
        """The latest mails, newest first."""
        return [MailCount(*row) for row in self._rows(_COUNTS, limit)]

    def forget(self, before: float) -> None:
        """Forget what is older, but for what waits."""
        with self._transaction() as db:
            db.execute("DELETE FROM seen WHERE at < ?", (before,))
            db.execute("DELETE FROM counts WHERE at < ?", (before,))

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self._lock, self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BusError(f"The file {self._file} is of no use: {error}.") from error
