"""The workers' writes, as functions over a connection.

`now` is the wall clock, by which tasks are due; `beat` the monotonic clock, by which leases
run out: nobody but this process holds any.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from tesp.store import (
    Attempt,
    Change,
    Claim,
    Fence,
    Phase,
    Renewal,
    Written,
)
from tesp.store.sqlite.tasks import change_state, needs_of
from tesp.tes.states import INITIAL, TERMINAL, State, Transition, sources, target
from tesp.tes.views import Text, earlier_logs

_DUE = "SELECT state FROM tasks WHERE id = ? AND due <= ?"
_RAISE_EPOCH = "UPDATE tasks SET epoch = epoch + 1 WHERE id = ?"
_INSERT_ATTEMPT = "INSERT INTO attempts (task, backend, phase) VALUES (?, ?, ?)"
_PUT_LEASE = (
    "INSERT OR REPLACE INTO leases (task, backend, holder, epoch, expires)"
    " SELECT t.id, a.backend, ?, t.epoch, ? FROM tasks t JOIN attempts a ON a.task = t.id"
    " WHERE t.id = ?"
)
_CLAIM = (
    "SELECT t.epoch, t.owner, t.state, t.attempt, a.backend, a.phase, a.handle, a.place,"
    " a.outcome, b.full, b.basic, l.full, t.needs, t.name, b.warnings FROM tasks t"
    " JOIN attempts a ON a.task = t.id JOIN bodies b ON b.task = t.id"
    " LEFT JOIN logs l ON l.task = t.id WHERE t.id = ?"
)
_RUN_OUT = "SELECT task FROM leases WHERE backend = ? AND expires <= ? ORDER BY expires LIMIT ?"
_STRANDED = (
    "SELECT DISTINCT backend FROM leases WHERE backend > '' AND expires <= ? ORDER BY backend"
)
_PROLONG = "UPDATE leases SET expires = ? WHERE task = ? AND epoch = ?"
_STATE = "SELECT state FROM tasks WHERE id = ?"
_FENCED = "SELECT t.state, l.epoch FROM tasks t LEFT JOIN leases l ON l.task = t.id WHERE t.id = ?"
_PUT_LOGS = "INSERT OR REPLACE INTO logs (task, full, basic) VALUES (?, ?, ?)"
_SET_BODY = "UPDATE bodies SET full = ?, basic = ? WHERE task = ?"
_SET_ATTEMPT = "UPDATE attempts SET phase = ?, handle = ?, place = ?, outcome = ? WHERE task = ?"
_QUEUE_AGAIN = "UPDATE tasks SET attempt = attempt + ?, due = ? WHERE id = ? RETURNING attempt"
_LOGS = "SELECT full, basic FROM logs WHERE task = ?"
_DROP_LOGS = "DELETE FROM logs WHERE task = ?"
_END = (
    "DELETE FROM leases WHERE task = ?",
    "DELETE FROM attempts WHERE task = ?",
    "DELETE FROM tails WHERE task = ?",
    "DELETE FROM remarks WHERE task = ?",
)
_PUT_TAIL = "INSERT OR REPLACE INTO tails (task, streams) VALUES (?, ?)"
_HOLD = (
    "INSERT INTO holds (name, holder, expires) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires"
    " WHERE holder = excluded.holder OR expires <= ?"
)
# The epoch 0 is nobody's: what a worker of an earlier process still writes is lost.
_VOID_LEASES = "UPDATE leases SET expires = -1, epoch = 0"
_VOID_HOLDS = "DELETE FROM holds"


def void(db: sqlite3.Connection) -> None:
    """End all leases: a file has one owner, so their holders are dead. At the opening alone."""
    db.execute(_VOID_LEASES)
    db.execute(_VOID_HOLDS)


def claim(
    db: sqlite3.Connection, task_id: str, backend: str, holder: str, now: float, expires: float
) -> Claim | None:
    """Begin an attempt at a task that is due."""
    row = db.execute(_DUE, (task_id, now)).fetchone()
    state = State(row[0]) if row else State.UNKNOWN
    to = sources(Transition.CLAIM).get(state)
    if to is None:
        return None
    change_state(db, task_id, state, to, now)
    db.execute(_INSERT_ATTEMPT, (task_id, backend, Phase.STAGING))
    return _lease(db, task_id, holder, expires)


def adopt(
    db: sqlite3.Connection,
    backends: Sequence[str],
    holder: str,
    limit: int,
    beat: float,
    expires: float,
) -> Sequence[Claim]:
    """Take over the attempts whose lease has run out, those that have longest first."""
    tasks: list[str] = []
    for backend in backends:
        rows = db.execute(_RUN_OUT, (backend, beat, limit - len(tasks))).fetchall()
        tasks.extend(row[0] for row in rows)
    return [_lease(db, task, holder, expires) for task in tasks]


def stranded(db: sqlite3.Connection, beat: float) -> Sequence[str]:
    """The backends of attempts whose lease has run out."""
    return [row[0] for row in db.execute(_STRANDED, (beat,))]


def _lease(db: sqlite3.Connection, task_id: str, holder: str, expires: float) -> Claim:
    db.execute(_RAISE_EPOCH, (task_id,))
    db.execute(_PUT_LEASE, (holder, expires, task_id))
    row = db.execute(_CLAIM, (task_id,)).fetchone()
    return _claim(task_id, row)


def _claim(task_id: str, row: Any) -> Claim:
    epoch, owner, state, number, backend, phase, *rest = row
    handle, place, outcome, full, basic, logs, needs, name, warnings = rest
    return Claim(
        fence=Fence(task_id, epoch),
        owner=owner,
        state=State(state),
        attempt=Attempt(number, backend, Phase(phase), handle, place, outcome),
        body=Text(full, basic),
        logs=logs or "",
        needs=needs_of(needs),
        name=name,
        warnings=tuple(json.loads(warnings)) if warnings else (),
    )


def renew(db: sqlite3.Connection, fences: Sequence[Fence], expires: float) -> Sequence[Renewal]:
    """Prolong leases."""
    return [_renewed(db, fence, expires) for fence in fences]


def _renewed(db: sqlite3.Connection, fence: Fence, expires: float) -> Renewal:
    if db.execute(_PROLONG, (expires, fence.task_id, fence.epoch)).rowcount == 0:
        return Renewal(fence, lost=True)
    (state,) = db.execute(_STATE, (fence.task_id,)).fetchone()
    return Renewal(fence, canceling=state == State.CANCELING)


def write(db: sqlite3.Connection, fence: Fence, change: Change, now: float) -> Written:
    """One guarded write of a worker."""
    row = db.execute(_FENCED, (fence.task_id,)).fetchone()
    state, epoch = (State(row[0]), row[1]) if row else (State.UNKNOWN, None)
    if epoch != fence.epoch:
        return Written(state, applied=False, lost=True)
    to = target(state, change.transition) if change.transition else state
    if to is None:
        return Written(state, applied=False)
    _store_texts(db, fence.task_id, change)
    if to is INITIAL:
        _queue_again(db, fence.task_id, change, now)
    if change.transition:
        change_state(db, fence.task_id, state, to, now, change.reason)
    if ends(to):
        for statement in _END:
            db.execute(statement, (fence.task_id,))
    return Written(to, applied=True)


def ends(to: State) -> bool:
    """Whether an attempt is over with a write that leads there."""
    return to in TERMINAL or to is INITIAL


def _queue_again(db: sqlite3.Connection, task_id: str, change: Change, now: float) -> None:
    raised = 1 if change.transition is Transition.RETRY else 0
    due = now + change.delay_seconds
    (number,) = db.execute(_QUEUE_AGAIN, (raised, due, task_id)).fetchone()
    if change.transition is Transition.REQUEUE:
        _forget_logs(db, task_id, number)


def _forget_logs(db: sqlite3.Connection, task_id: str, number: int) -> None:
    """Take the log of this attempt away; those of earlier ones stay."""
    row = db.execute(_LOGS, (task_id,)).fetchone()
    kept = earlier_logs(Text(*row), number) if row else None
    if kept:
        db.execute(_PUT_LOGS, (task_id, kept.full, kept.basic))
    else:
        db.execute(_DROP_LOGS, (task_id,))


def _store_texts(db: sqlite3.Connection, task_id: str, change: Change) -> None:
    if change.body is not None:
        db.execute(_SET_BODY, (change.body.full, change.body.basic, task_id))
    if change.logs is not None:
        db.execute(_PUT_LOGS, (task_id, change.logs.full, change.logs.basic))
    if change.attempt is not None:
        a = change.attempt
        db.execute(_SET_ATTEMPT, (a.phase, a.handle, a.place, a.outcome, task_id))


def tail(db: sqlite3.Connection, fence: Fence, tails: Mapping[str, str]) -> None:
    """Replace the live tails, if the lease is the caller's."""
    row = db.execute(_FENCED, (fence.task_id,)).fetchone()
    if row and row[1] == fence.epoch:
        db.execute(_PUT_TAIL, (fence.task_id, json.dumps(dict(tails))))


def hold(db: sqlite3.Connection, name: str, holder: str, beat: float, expires: float) -> bool:
    """Take or prolong a named lease."""
    return db.execute(_HOLD, (name, holder, expires, beat)).rowcount > 0
