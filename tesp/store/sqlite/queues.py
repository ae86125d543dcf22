"""What is queued: the owners in turn, and for each the tasks that have waited longest."""

import json
import sqlite3
from collections.abc import Iterator, Sequence

from tesp.store import Candidate
from tesp.store.sqlite.tasks import needs_of

# SQLite would take another index and sort.
_QUEUED = "FROM tasks INDEXED BY tasks_queued WHERE state = 'QUEUED'"
_FIRST_OWNER = f"SELECT owner {_QUEUED} AND owner >= '' ORDER BY owner LIMIT 1"
_NEXT_OWNER = f"SELECT owner {_QUEUED} AND owner > ? ORDER BY owner LIMIT 1"
_TAGS = "(SELECT json_group_object(key, value) FROM tags WHERE task = tasks.id)"
_DUE = (
    f"SELECT id, owner, needs, {_TAGS} {_QUEUED} AND owner = ? AND due <= ?"
    " ORDER BY due, id LIMIT ?"
)
_TO_COME = f"SELECT due {_QUEUED} AND owner = ? AND due > ?"
_UNDER_WAY = "SELECT task FROM leases WHERE task >= '' LIMIT 1"


def queued(
    db: sqlite3.Connection, per_owner: int, owners: int, after: str | None, now: float
) -> tuple[Sequence[Candidate], str | None]:
    """The oldest due tasks of `owners` owners, beginning behind `after`; the last owner."""
    found: list[Candidate] = []
    last, served = after, 0
    for owner in _in_turn(db, after):
        rows = db.execute(_DUE, (owner, now, per_owner)).fetchall()
        found.extend(
            Candidate(i, o, needs_of(needs), json.loads(tags)) for i, o, needs, tags in rows
        )
        served += bool(rows)
        last = owner if rows else last
        if served == owners:
            break
    return found, last


def _in_turn(db: sqlite3.Connection, after: str | None) -> Iterator[str]:
    """Every owner with queued tasks once, beginning with the first one behind `after`."""
    owner = after
    while (owner := _behind(db, owner)) is not None:
        yield owner
    if after is not None:
        while (owner := _behind(db, owner)) is not None and owner <= after:
            yield owner


def _behind(db: sqlite3.Connection, owner: str | None) -> str | None:
    if owner is None:
        row = db.execute(_FIRST_OWNER).fetchone()
    else:
        row = db.execute(_NEXT_OWNER, (owner,)).fetchone()
    return row[0] if row else None


def wakes(db: sqlite3.Connection, now: float) -> list[float]:
    """When there is something to look at: the times to tell a dispatcher at the opening."""
    times = [0.0] if db.execute(_UNDER_WAY).fetchone() else []
    for owner in _in_turn(db, None):
        if db.execute(_DUE, (owner, now, 1)).fetchone():
            times.append(0.0)
        times.extend(row[0] for row in db.execute(_TO_COME, (owner, now)))
    return times
