"""The API's writes, and tasks as they are shown."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from tesp.errors import Conflict, StoreError
from tesp.store import Cancel, IdempotencyKey, NewTask
from tesp.store.mongo import leases, texts
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.documents import (
    Pair,
    Piece,
    StoredKey,
    StoredNeeds,
    TaskShape,
)
from tesp.store.mongo.expressions import NOW, Stage, after, literal, moved
from tesp.store.mongo.projections import (
    VIEWS,
    Keyed,
    Minimal,
    Shown,
    Tails,
    TaskId,
    Written,
    fields,
)
from tesp.tes.needs import Needs
from tesp.tes.states import INITIAL, TABLE, TERMINAL, State, Transition, sources
from tesp.tes.views import TaskText, View

_DAY_SECONDS = 24 * 3600.0
_ROUNDS = 5  # of a read or write that others got in the way of

# The states in which a worker has the task.
LIVE = frozenset(state for state, _ in TABLE) - {INITIAL}


async def create(db: Collections, task: NewTask) -> tuple[str, bool]:
    """Store a task with its first event; its id or the one that its key made, and if it is new."""
    body = await texts.put(db, task.id, task.body)
    try:
        made = await _create(db, task, body)
    except (Conflict, StoreError):
        await texts.drop(db, [body])
        raise
    if made != task.id:
        await texts.drop(db, [body])
    return made, made == task.id


async def _create(db: Collections, task: NewTask, body: Piece) -> str:
    stages = _document(task, body)
    for _ in range(_ROUNDS):
        try:
            # Never meets a document: with a known id it is refused by the index of ids.
            await raw(db.tasks).update_one(
                {"_id": task.id, "schema": {"$exists": False}}, stages, upsert=True
            )
        except DuplicateKeyError:
            known = await _known(db, task.owner, task.idempotency)
            if known is not None:
                return known
            if await db.tasks.find_one({"_id": task.id}, projection_model=TaskId) is not None:
                raise Conflict(f"there is a task {task.id} already") from None
        else:
            return task.id
    raise StoreError(f"task {task.id} could not be stored: too many creations with one key")


def _document(task: NewTask, body: Piece) -> list[Stage]:
    shape = TaskShape(
        id=task.id,
        owner=task.owner,
        name=task.name,
        tags=[Pair(k=k, v=v) for k, v in task.tags.items()],
        needs=stored_needs(task.needs),
        warnings=list(task.warnings),
        body=body,
        correlation=task.correlation,
        hops=task.hops,
        callback=task.callback,
    )
    dumped = shape.model_dump(by_alias=True, exclude_none=True, exclude={"id"}, mode="json")
    event = {"number": 1, "state": INITIAL.value, "time": NOW, "attempt": 1}
    timed: dict[str, Any] = {"due": after(task.delay_seconds), "outbox": NOW, "history": [event]}
    if task.idempotency is not None:
        key = StoredKey(key=task.idempotency.key, digest=task.idempotency.digest)
        expires = {"expires": after(_DAY_SECONDS)}
        timed["idempotency"] = {"$mergeObjects": [literal(key.model_dump()), expires]}
    return [{"$replaceWith": {"$mergeObjects": [{"_id": "$_id"}, literal(dumped), timed]}}]


async def _known(db: Collections, owner: str, key: IdempotencyKey | None) -> str | None:
    """The task that this key made; a key that has run out is taken off its task."""
    if key is None:
        return None
    query = {"owner": owner, "idempotency.key": key.key}
    expired = {"$expr": {"$lte": ["$idempotency.expires", NOW]}}
    await raw(db.tasks).update_one({**query, **expired}, {"$unset": {"idempotency": 1}})
    found = await db.tasks.find_one(query, projection_model=Keyed)
    if found is None:
        return None
    if found.idempotency.digest != key.digest:
        raise Conflict(f"the idempotency key {key.key!r} was used with another task")
    return found.id


async def cancel(db: Collections, task_id: str) -> tuple[Cancel, int]:
    """Apply Transition.CANCEL; what came of it, and the number of the event or 0."""
    after = await raw(db.tasks).find_one_and_update(
        {"_id": task_id, "state": {"$in": [s.value for s in sources(Transition.CANCEL)]}},
        moved(Transition.CANCEL),
        projection=fields(Written),
        return_document=ReturnDocument.AFTER,
    )
    if after is not None:
        ended = State(after["state"]) in TERMINAL
        if ended and after["events"] > 2:
            await leases.forget(db, task_id)
        return Cancel.ENDED if ended else Cancel.ASKED, after["events"]
    found = await leases.guarded(db, task_id)
    if found is None:
        return Cancel.UNKNOWN, 0
    return Cancel.TERMINAL if found.state in TERMINAL else Cancel.ASKED, 0


async def get(db: Collections, task_id: str, view: View) -> TaskText | None:
    """One task as it is shown."""
    found = await show(db, [task_id], view)
    return found[0] if found else None


async def show(db: Collections, ids: Sequence[str], view: View) -> Sequence[TaskText]:
    """Those of the tasks that there are, in the order of the ids."""
    for _ in range(_ROUNDS):
        query = db.tasks.find({"_id": {"$in": list(ids)}})
        rows = {row.id: row for row in await query.project(VIEWS[view]).to_list()}
        found = [rows[i] for i in ids if i in rows]
        pieces = [p for row in found if isinstance(row, Shown) for p in (row.body, row.logs)]
        large = await texts.load(db, pieces, view)
        if large is not None:
            tails = await _tails(db, found) if view is View.FULL else {}
            return [_shown(row, view, large, tails) for row in found]
    raise StoreError("the texts of a task are missing: restore the collection `texts`")


def _shown(
    row: Minimal, view: View, large: Mapping[str, str], tails: Mapping[str, Mapping[str, str]]
) -> TaskText:
    if not isinstance(row, Shown):
        return TaskText(row.id, row.state)
    body, logs = (texts.shown(piece, view, large) for piece in (row.body, row.logs))
    return TaskText(row.id, row.state, body, logs, tails.get(row.id, {}))


async def _tails(db: Collections, rows: Sequence[Minimal]) -> dict[str, Mapping[str, str]]:
    """The live tails of the attempts that are running; those of an earlier attempt are dead."""
    begun = {r.id: r.claim_epoch for r in rows if isinstance(r, Shown) and r.state in LIVE}
    if not begun:
        return {}
    found = await db.tails.find({"_id": {"$in": list(begun)}}).project(Tails).to_list()
    return {t.id: json.loads(t.text) for t in found if t.epoch >= begun[t.id]}


def stored_needs(needs: Needs) -> StoredNeeds:
    """How needs are stored."""
    return StoredNeeds(
        cpus=needs.cpus,
        ram_bytes=needs.ram_bytes,
        disk_bytes=needs.disk_bytes,
        preemptible=needs.preemptible,
        zones=list(needs.zones),
        parameters=[Pair(k=k, v=v) for k, v in needs.parameters.items()],
    )


def needs_of(stored: StoredNeeds) -> Needs:
    """The inverse of stored_needs."""
    return Needs(
        cpus=stored.cpus,
        ram_bytes=stored.ram_bytes,
        disk_bytes=stored.disk_bytes,
        preemptible=stored.preemptible,
        zones=tuple(stored.zones),
        parameters={p.k: p.v for p in stored.parameters},
    )
