"""The log of events; each is written in the transaction of the change that it tells of."""

import sqlite3
from collections.abc import Sequence

from tesp.events import Event
from tesp.store import Logged
from tesp.tes.states import State

_INSERT = (
    "INSERT INTO events (task, number, state, time, owner, attempt, name, reason)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_COLUMNS = "task, number, state, time, owner, attempt, name, reason"
_HISTORY = f"SELECT {_COLUMNS} FROM events WHERE task = ? ORDER BY number"
_READ = (
    f"SELECT sequence, {_COLUMNS} FROM events"
    " WHERE sequence > ? AND sequence <= (SELECT position FROM log WHERE id = 1)"
    " ORDER BY sequence LIMIT ?"
)
_WAITING = (
    "SELECT count(*), max(sequence) FROM (SELECT sequence FROM events"
    " WHERE sequence > (SELECT position FROM log WHERE id = 1) ORDER BY sequence LIMIT ?)"
)
_POSITION = "SELECT position FROM log WHERE id = 1"
_MOVE = "UPDATE log SET position = ? WHERE id = 1"


def record(db: sqlite3.Connection, event: Event) -> None:
    """Store an event behind all others."""
    db.execute(
        _INSERT,
        (
            event.task,
            event.number,
            event.state,
            event.time,
            event.owner,
            event.attempt,
            event.name,
            event.reason,
        ),
    )


def relay(db: sqlite3.Connection, limit: int) -> int:
    """Let the log reach over up to `limit` more events; how many."""
    count, last = db.execute(_WAITING, (limit,)).fetchone()
    if count:
        db.execute(_MOVE, (last,))
    return int(count)


def end(db: sqlite3.Connection) -> int:
    """The sequence that the log has come to."""
    return int(db.execute(_POSITION).fetchone()[0])


def read(db: sqlite3.Connection, after: int, limit: int) -> Sequence[Logged]:
    """Events of the log behind `after`."""
    rows = db.execute(_READ, (after, limit))
    return [Logged(row[0], _event(row[1:])) for row in rows]


def history(db: sqlite3.Connection, task_id: str) -> Sequence[Event]:
    """All events of one task."""
    return [_event(row) for row in db.execute(_HISTORY, (task_id,))]


def _event(row: Sequence[object]) -> Event:
    task, number, state, *rest = row
    return Event(task, number, State(str(state)), *rest)  # type: ignore[arg-type]
