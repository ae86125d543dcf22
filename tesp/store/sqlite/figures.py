"""Figures about the service, as functions over a connection."""

import sqlite3
from collections.abc import Mapping, Sequence

from tesp.store.figures import Reading, Standing
from tesp.tes.states import State

_STATES = ", ".join(f"'{state.value}'" for state in State)
_COUNTS = "SELECT state, count(*) FROM tasks WHERE state IN (" + _STATES + ") GROUP BY state"
# The log has no holes: how many wait can be told by the numbers.
_STANDINGS = (
    "SELECT c.name, l.position - c.sequence, e.time, c.moved"
    " FROM cursors c JOIN log l ON l.id = 1"
    " LEFT JOIN events e ON e.sequence = c.sequence + 1 AND e.sequence <= l.position"
    " ORDER BY c.name"
)
_NOTE = (
    "INSERT INTO readings (name, text, time) VALUES (?, ?, ?) ON CONFLICT (name)"
    " DO UPDATE SET text = excluded.text, time = excluded.time"
)
_DROP = "DELETE FROM readings WHERE time < ?"
_READINGS = "SELECT name, text, time FROM readings ORDER BY name"
_DAY_SECONDS = 86400.0


def counts(db: sqlite3.Connection) -> Mapping[State, int]:
    """Tasks by state."""
    return {State(state): int(count) for state, count in db.execute(_COUNTS)}


def standings(db: sqlite3.Connection) -> Sequence[Standing]:
    """Every cursor."""
    return [
        Standing(name, max(0, waiting), oldest, moved)
        for name, waiting, oldest, moved in db.execute(_STANDINGS)
    ]


def note(db: sqlite3.Connection, name: str, text: str, now: float) -> None:
    """Keep a reading; old ones go."""
    db.execute(_DROP, (now - _DAY_SECONDS,))
    db.execute(_NOTE, (name, text, now))


def readings(db: sqlite3.Connection) -> Sequence[Reading]:
    """All readings."""
    return [Reading(*row) for row in db.execute(_READINGS)]
