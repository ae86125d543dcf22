"""What the transfers of a job's own side need, as functions over a connection."""

import secrets
import sqlite3
from collections.abc import Sequence

from tesp.store import Current
from tesp.tes.states import State
from tesp.tes.views import Text

_SECRET_BYTES = 32
_MOST_REMARKS = 100

_INSERT_SECRET = "INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)"
_SECRET = "SELECT value FROM secrets WHERE name = ?"
_CURRENT = (
    "SELECT t.state, t.attempt, b.full, b.basic FROM tasks t JOIN bodies b ON b.task = t.id"
    " WHERE t.id = ? AND t.state IN ('INITIALIZING', 'RUNNING')"
)
# Only while the attempt goes on: its end drops them all.
_REMARK = (
    "INSERT OR IGNORE INTO remarks (task, place, sentence)"
    " SELECT t.id, (SELECT count(*) FROM remarks WHERE task = t.id), ?"
    " FROM tasks t JOIN attempts a ON a.task = t.id WHERE t.id = ? AND t.attempt = ?"
    " AND (SELECT count(*) FROM remarks WHERE task = t.id) < ?"
)
_REMARKS = (
    "SELECT r.sentence FROM tasks t CROSS JOIN remarks r ON r.task = t.id"
    " WHERE t.id = ? AND t.attempt = ? ORDER BY r.place"
)


def secret(db: sqlite3.Connection, name: str) -> bytes:
    """The secret of that name, made where it is missing."""
    db.execute(_INSERT_SECRET, (name, secrets.token_bytes(_SECRET_BYTES)))
    return bytes(db.execute(_SECRET, (name,)).fetchone()[0])


def current(db: sqlite3.Connection, task_id: str) -> Current | None:
    """The attempt that may fetch and send."""
    row = db.execute(_CURRENT, (task_id,)).fetchone()
    return None if row is None else Current(State(row[0]), row[1], Text(row[2], row[3]))


def remark(db: sqlite3.Connection, task_id: str, number: int, sentence: str) -> None:
    """Keep a sentence on an attempt that goes on."""
    db.execute(_REMARK, (sentence, task_id, number, _MOST_REMARKS))


def remarks(db: sqlite3.Connection, task_id: str, number: int) -> Sequence[str]:
    """The sentences in order."""
    return [row[0] for row in db.execute(_REMARKS, (task_id, number))]
