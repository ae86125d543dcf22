"""The outbox in the tasks' documents, and the log that it is moved to.

The log is without gaps: a relay numbers on from the last entry and inserts in order, so two
that work at the same time run into each other's numbers, and the slower one stops. What is
in the log already, because a crash came before the mark in the task, is not put there again.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from tesp.events import Event
from tesp.store import Logged
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.documents import StoredEvent
from tesp.store.mongo.expressions import NOW, Expression, Stage, milliseconds
from tesp.store.mongo.projections import Dated, Entry, History, Last, TaskId

_DUPLICATE = 11000
_FORGOTTEN_AT_ONCE = 1000


async def relay(db: Collections, limit: int) -> int:
    """Move events from the outbox to the log; how many."""
    query = db.tasks.find({"outbox": {"$exists": True}}, hint="unrelayed")
    tasks = await query.sort("outbox").limit(limit).project(History).to_list()
    events = in_order(tasks)[:limit]
    if not events:
        return 0
    last = await end(db)
    logged = await _logged(db, events)
    fresh = [event for event in events if event.id not in logged]
    stored = await _append(db, [_entry(e, n) for n, e in enumerate(fresh, last + 1)])
    moved = [*(e for e in events if e.id in logged), *fresh[:stored]]
    await _mark(db, moved)
    return len(moved)


async def end(db: Collections) -> int:
    """The sequence that the log has come to."""
    query = db.log.find({}, hint="by_sequence").sort("-sequence").limit(1)
    return max([row.sequence for row in await query.project(Last).to_list()], default=0)


async def _logged(db: Collections, events: Sequence[Event]) -> set[str]:
    query = db.log.find({"_id": {"$in": [event.id for event in events]}})
    return {entry.id for entry in await query.project(TaskId).to_list()}


async def _append(db: Collections, entries: Sequence[dict[str, Any]]) -> int:
    """Put entries into the log, one after another; how many there was room for."""
    if not entries:
        return 0
    try:
        await raw(db.log).insert_many(entries, ordered=True)
    except BulkWriteError as error:
        if any(e.get("code") != _DUPLICATE for e in error.details["writeErrors"]):
            raise
        return int(error.details["nInserted"])
    return len(entries)


async def _mark(db: Collections, events: Iterable[Event]) -> None:
    """Note in the tasks that these events are in the log."""
    most: dict[str, int] = {}
    for event in events:
        most[event.task] = max(event.number, most.get(event.task, 0))
    marks = [UpdateOne({"_id": task}, _relayed(number)) for task, number in most.items()]
    if marks:
        await raw(db.tasks).bulk_write(marks, ordered=False)


def _relayed(number: int) -> list[Stage]:
    first_left = {"$arrayElemAt": ["$history", "$relayed"]}
    since = {"$let": {"vars": {"left": first_left}, "in": "$$left.time"}}
    all_are = {"$gte": ["$relayed", "$events"]}
    return [
        {"$set": {"relayed": {"$max": ["$relayed", number]}}},
        {"$set": {"outbox": {"$cond": [all_are, "$$REMOVE", since]}}},
    ]


def in_order(tasks: Iterable[History]) -> list[Event]:
    """Events that are not in the log: by time, and those of one task in their order."""
    timed: list[tuple[int, Event]] = []
    for task in tasks:
        latest = 0
        for stored in task.history[task.relayed :]:
            # A server's clock may be set back; the order within the task holds all the same.
            latest = max(latest, stored.time)
            timed.append((latest, event_of(task, stored)))
    timed.sort(key=lambda pair: (pair[0], pair[1].task, pair[1].number))
    return [event for _, event in timed]


def event_of(task: History, stored: StoredEvent) -> Event:
    """The event as all others know it."""
    return Event(
        task=task.id,
        number=stored.number,
        state=stored.state,
        time=stored.time / 1000,
        owner=task.owner,
        attempt=stored.attempt,
        name=task.name,
        reason=stored.reason,
        correlation=task.correlation or "",
        hops=task.hops,
        callback=task.callback,
    )


def _entry(event: Event, sequence: int) -> dict[str, Any]:
    return {
        "_id": event.id,
        "sequence": sequence,
        "task": event.task,
        "number": event.number,
        "state": event.state.value,
        "time": round(event.time * 1000),
        "owner": event.owner,
        "attempt": event.attempt,
        **{name: value for name, value in _beside(event).items() if value not in (None, 0)},
    }


def _beside(event: Event) -> dict[str, str | int | None]:
    """What many events do not have."""
    wider = event.correlation if event.correlation != event.task else None
    return {
        "name": event.name,
        "reason": event.reason,
        "correlation": wider,
        "hops": event.hops,
        "callback": event.callback,
    }


async def first(db: Collections) -> int:
    """The first sequence that is still there."""
    query = db.log.find({}, hint="by_sequence").sort("sequence").limit(1)
    return min([row.sequence for row in await query.project(Last).to_list()], default=1)


async def forget(db: Collections, older_than: float) -> int:
    """Take old events out of the log; how many. What is kept has no holes."""
    cursors = await db.cursors.find({}).project(Last).to_list()
    # The log's last entry tells on which number it goes on.
    most = min([await end(db) - 1, *(cursor.sequence for cursor in cursors)])
    total = 0
    while last := await _last_old(db, most, older_than):
        gone = await raw(db.log).delete_many({"sequence": {"$lte": last}})
        total += gone.deleted_count
    return total


async def _last_old(db: Collections, most: int, older_than: float) -> int:
    """The last of some of the oldest entries, all from before that time; 0 for none."""
    query = db.log.find({"sequence": {"$lte": most}}, hint="by_sequence")
    entries = await query.sort("sequence").limit(_FORGOTTEN_AT_ONCE).project(Dated).to_list()
    old = takewhile(lambda entry: entry.time < older_than * 1000, entries)
    return max((entry.sequence for entry in old), default=0)


async def cursor(db: Collections, name: str) -> int:
    """How far a reader has come."""
    found = await db.cursors.find_one({"_id": name}, projection_model=Last)
    return found.sequence if found else 0


async def begin_cursor(db: Collections, name: str) -> int:
    """How far a reader has come, who begins at the log's end."""
    await _put_cursor(db, name, {"$ifNull": ["$sequence", await end(db)]})
    return await cursor(db, name)


async def move_cursor(db: Collections, name: str, sequence: int) -> None:
    """A reader has come that far."""
    await _put_cursor(db, name, {"$max": ["$sequence", sequence]}, moved=NOW)


async def forget_cursors(db: Collections, untouched_since: float) -> int:
    """Drop the cursors that are nobody's; how many."""
    untouched = {"touched": {"$lt": milliseconds(untouched_since)}}
    return (await raw(db.cursors).delete_many(untouched)).deleted_count


async def _put_cursor(db: Collections, name: str, sequence: Expression, **more: Expression) -> None:
    update = [{"$set": {"sequence": sequence, "touched": NOW, **more}}]
    try:
        await raw(db.cursors).update_one({"_id": name}, update, upsert=True)
    except DuplicateKeyError:  # another's upsert was faster
        await raw(db.cursors).update_one({"_id": name}, update)


async def read(db: Collections, after: int, limit: int) -> Sequence[Logged]:
    """Events of the log with a sequence above `after`, in order."""
    query = db.log.find({"sequence": {"$gt": after}}, hint="by_sequence")
    entries = await query.sort("sequence").limit(limit).project(Entry).to_list()
    return [Logged(entry.sequence, _event(entry)) for entry in entries]


def _event(entry: Entry) -> Event:
    return Event(
        task=entry.task,
        number=entry.number,
        state=entry.state,
        time=entry.time / 1000,
        owner=entry.owner,
        attempt=entry.attempt,
        name=entry.name,
        reason=entry.reason,
        correlation=entry.correlation or "",
        hops=entry.hops,
        callback=entry.callback,
    )


async def history(db: Collections, task_id: str) -> Sequence[Event]:
    """All events of one task."""
    task = await db.tasks.find_one({"_id": task_id}, projection_model=History)
    return [event_of(task, stored) for stored in task.history] if task else []
