"""The log of events; each is written in the transaction of the change that it tells of."""

import sqlite3
from collections.abc import Sequence

from tesp.events import Event
from tesp.store import Logged
from tesp.tes.states import State

_INSERT = (
    "INSERT INTO events (task, number, state, time, owner, attempt, name, reason,"
    " correlation, hops, callback) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COLUMNS = (
    "task, number, state, time, owner, attempt, name, reason, coalesce(correlation, ''),"
    " hops, callback"
)
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
_FIRST = "SELECT sequence FROM events WHERE sequence > 0 ORDER BY sequence LIMIT 1"
# In order of the log, not of time: what is kept has no holes. The first that is young enough, that
# a cursor has yet to pass, or that is the last of the log, and all behind it, stay.
_OLD = (
    "SELECT sequence, time FROM events WHERE sequence < (SELECT position FROM log WHERE id = 1)"
    " AND sequence <= coalesce((SELECT min(sequence) FROM cursors), 9223372036854775807)"
    " ORDER BY sequence LIMIT ?"
)
_FORGET = "DELETE FROM events WHERE sequence <= ?"
_CURSOR = "SELECT sequence FROM cursors WHERE name = ?"
_BEGIN_CURSOR = (
    "INSERT INTO cursors (name, sequence, touched)"
    " VALUES (?, (SELECT position FROM log WHERE id = 1), ?)"
    " ON CONFLICT (name) DO UPDATE SET touched = excluded.touched"
)
_MOVE_CURSOR = (
    "INSERT INTO cursors (name, sequence, touched, moved) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET sequence = max(sequence, excluded.sequence),"
    " touched = excluded.touched, moved = excluded.moved"
)
_FORGET_CURSORS = "DELETE FROM cursors WHERE touched < ?"
_FORGOTTEN_AT_ONCE = 1000
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
            event.correlation if event.correlation != event.task else None,
            event.hops,
            event.callback,
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


def first(db: sqlite3.Connection) -> int:
    """The first sequence that is still there."""
    row = db.execute(_FIRST).fetchone()
    return int(row[0]) if row else 1


def forget(db: sqlite3.Connection, older_than: float) -> int:
    """Take some of the oldest events out of the log; how many."""
    last = 0
    count = 0
    for sequence, time in db.execute(_OLD, (_FORGOTTEN_AT_ONCE,)):
        if time >= older_than:
            break
        last, count = sequence, count + 1
    if count:
        db.execute(_FORGET, (last,))
    return count


def cursor(db: sqlite3.Connection, name: str) -> int:
    """How far a reader has come."""
    row = db.execute(_CURSOR, (name,)).fetchone()
    return int(row[0]) if row else 0


def begin_cursor(db: sqlite3.Connection, name: str, now: float) -> int:
    """How far a reader has come, who begins at the log's end."""
    db.execute(_BEGIN_CURSOR, (name, now))
    return cursor(db, name)


def move_cursor(db: sqlite3.Connection, name: str, sequence: int, now: float) -> None:
    """A reader has come that far."""
    db.execute(_MOVE_CURSOR, (name, sequence, now, now))


def forget_cursors(db: sqlite3.Connection, untouched_since: float) -> int:
    """Drop the cursors that are nobody's; how many."""
    return db.execute(_FORGET_CURSORS, (untouched_since,)).rowcount


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
