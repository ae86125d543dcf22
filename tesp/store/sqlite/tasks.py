"""The API's writes and its look at one task, as functions over a connection."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from tesp.errors import Conflict
from tesp.events import Event
from tesp.store import Cancel, IdempotencyKey, NewTask
from tesp.store.sqlite.events import record
from tesp.tes.needs import Needs
from tesp.tes.states import INITIAL, TERMINAL, State, Transition, target
from tesp.tes.views import TaskText, View

_DAY_SECONDS = 24 * 3600.0

_INSERT_TASK = (
    "INSERT INTO tasks (id, owner, state, name, needs, attempt, epoch, events, due,"
    " correlation, hops, callback) VALUES (?, ?, ?, ?, ?, 1, 0, 1, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_INSERT_BODY = "INSERT INTO bodies (task, full, basic, warnings) VALUES (?, ?, ?, ?)"
_INSERT_TAG = "INSERT INTO tags (task, key, value) VALUES (?, ?, ?)"
_PRUNE_KEYS = "DELETE FROM keys WHERE time < ?"
_KEY = "SELECT digest, task FROM keys WHERE owner = ? AND key = ?"
_INSERT_KEY = "INSERT INTO keys (owner, key, digest, task, time) VALUES (?, ?, ?, ?, ?)"
_STATE = "SELECT state FROM tasks WHERE id = ?"
_CHANGE_STATE = (
    "UPDATE tasks SET state = ?, events = events + 1 WHERE id = ? AND state = ?"
    " RETURNING events, owner, attempt, name, correlation, hops, callback"
)
_MINIMAL = "SELECT id, state FROM tasks WHERE id = ?"
_SHOWN = (
    "SELECT t.id, t.state, {body}, {logs} FROM tasks t"
    " JOIN bodies b ON b.task = t.id LEFT JOIN logs l ON l.task = t.id {tails} WHERE t.id = ?"
)
_BASIC = _SHOWN.format(body="coalesce(b.basic, b.full)", logs="coalesce(l.basic, l.full)", tails="")
_FULL = _SHOWN.format(
    body="b.full", logs="l.full, a.streams", tails="LEFT JOIN tails a ON a.task = t.id"
)
_NO_NEEDS = Needs()
_STATES = {state.value: state for state in State}  # several times as fast as State(...)
_GET = {View.MINIMAL: _MINIMAL, View.BASIC: _BASIC, View.FULL: _FULL}


def create(db: sqlite3.Connection, task: NewTask, now: float) -> str:
    """Store a task with its first event, or give the id that its key made before."""
    if task.idempotency is not None:
        known = _known(db, task.owner, task.idempotency, now)
        if known is not None:
            return known
        key = task.idempotency
        db.execute(_INSERT_KEY, (task.owner, key.key, key.digest, task.id, now))
    needs = needs_text(task.needs)
    origin = (task.correlation, task.hops, task.callback)
    due = now + task.delay_seconds
    columns = (task.id, task.owner, INITIAL, task.name, needs, due, *origin)
    if db.execute(_INSERT_TASK, columns).rowcount == 0:
        raise Conflict(f"there is a task {task.id} already")
    warnings = json.dumps(task.warnings) if task.warnings else None
    db.execute(_INSERT_BODY, (task.id, task.body.full, task.body.basic, warnings))
    if task.tags:
        db.executemany(_INSERT_TAG, [(task.id, k, v) for k, v in task.tags.items()])
    record(db, Event(task.id, 1, INITIAL, now, task.owner, 1, task.name, None, *_told(origin)))
    return task.id


def _known(db: sqlite3.Connection, owner: str, key: IdempotencyKey, now: float) -> str | None:
    db.execute(_PRUNE_KEYS, (now - _DAY_SECONDS,))
    row = db.execute(_KEY, (owner, key.key)).fetchone()
    if row is None:
        return None
    if row[0] != key.digest:
        raise Conflict(f"the idempotency key {key.key!r} was used with another task")
    return str(row[1])


def cancel(db: sqlite3.Connection, task_id: str, now: float) -> Cancel:
    """Apply Transition.CANCEL."""
    row = db.execute(_STATE, (task_id,)).fetchone()
    if row is None:
        return Cancel.UNKNOWN
    state = State(row[0])
    to = target(state, Transition.CANCEL)
    if to is None:
        return Cancel.TERMINAL if state in TERMINAL else Cancel.ASKED
    change_state(db, task_id, state, to, now)
    return Cancel.ENDED if to in TERMINAL else Cancel.ASKED


def change_state(
    db: sqlite3.Connection,
    task_id: str,
    state: State,
    to: State,
    now: float,
    reason: str | None = None,
) -> None:
    """Move a task from `state` to `to`, with its event."""
    row = db.execute(_CHANGE_STATE, (to, task_id, state)).fetchone()
    number, owner, attempt, name, *origin = row
    record(db, Event(task_id, number, to, now, owner, attempt, name, reason, *_told(origin)))


def _told(origin: Sequence[Any]) -> tuple[str, int, str | None]:
    """Correlation, hops and callback of a task as its events tell them."""
    correlation, hops, callback = origin
    return correlation or "", hops, callback


def get(db: sqlite3.Connection, task_id: str, view: View) -> TaskText | None:
    """One task as it is shown."""
    row = db.execute(_GET[view], (task_id,)).fetchone()
    return None if row is None else shown(row)


def shown(row: Any) -> TaskText:
    """A task out of a row of id, state, and for larger views body, logs, and in FULL tails."""
    task_id, state, *rest = row
    known = _STATES[state]
    if not rest:
        return TaskText(task_id, known)
    tails = json.loads(rest[2]) if len(rest) > 2 and rest[2] else {}
    return TaskText(task_id, known, rest[0], rest[1] or "", tails)


def needs_text(needs: Needs) -> str | None:
    """How needs are stored; none at all as nothing."""
    if needs == _NO_NEEDS:
        return None
    # Not by asdict, which copies deeply: several times as slow.
    return json.dumps({name: getattr(needs, name) for name in Needs.__slots__})


def needs_of(text: str | None) -> Needs:
    """The inverse of needs_text."""
    if text is None:
        return Needs()
    members = json.loads(text)
    return Needs(**{**members, "zones": tuple(members["zones"])})
