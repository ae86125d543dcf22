"""Attempts: what workers do to tasks, each one write that is fenced by the lease's epoch."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError, PyMongoError

from tesp.errors import StoreError
from tesp.store import Attempt, Change, Claim, Fence, Phase, Written
from tesp.store.mongo import leases, texts
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.documents import Piece, StoredAttempt
from tesp.store.mongo.expressions import Stage, after, literal, moved, passed
from tesp.store.mongo.projections import Claimed, Leased, Noted, TaskId, fields
from tesp.store.mongo.projections import Written as Before
from tesp.store.mongo.tasks import LIVE, needs_of
from tesp.tes.states import INITIAL, TERMINAL, State, Transition, sources, target
from tesp.tes.views import Text, View, earlier_logs

_log = logging.getLogger(__name__)

_LIVE = sorted(state.value for state in LIVE)
# Of no use after a crash: not worth a wait for the disk.
_NOT_DURABLE = WriteConcern(1, j=False)


async def claim(
    db: Collections, task_id: str, backend: str, holder: str, lease_seconds: float
) -> Claim | None:
    """Begin an attempt at a task that is due."""
    epoch = await leases.take(db, task_id, backend, holder, lease_seconds)
    if epoch is None:
        return None
    fence = Fence(task_id, epoch)
    begun = {"backend": backend, "phase": Phase.STAGING.value}
    attempt = {"$mergeObjects": ["$attempt", literal(begun)]}
    stages = [
        {"$set": {"attempt": attempt, "lease_epoch": epoch, "claim_epoch": epoch}},
        *moved(Transition.CLAIM),
    ]
    queued = [state.value for state in sources(Transition.CLAIM)]
    where = {"state": {"$in": queued}, "$expr": passed("due")}
    found = await _leased(db, fence, where, stages)
    if found is None:
        await leases.release(db, fence)
    return found


async def adopt(
    db: Collections, backends: Sequence[str], holder: str, lease_seconds: float, limit: int
) -> Sequence[Claim]:
    """Take over the attempts whose lease has run out, those that have longest first."""
    found = await leases.run_out(db, backends, limit)
    adopted = await asyncio.gather(
        *(_adopt(db, lease, backends, holder, lease_seconds) for lease in found)
    )
    return [claim for claim in adopted if claim is not None]


async def _adopt(
    db: Collections, lease: Leased, backends: Sequence[str], holder: str, lease_seconds: float
) -> Claim | None:
    fence = await leases.take_over(db, lease, holder, lease_seconds)
    if fence is None:
        return None
    stages = [{"$set": {"lease_epoch": fence.epoch}}]
    where = {"state": {"$in": _LIVE}, "attempt.backend": {"$in": list(backends)}}
    claim = await _leased(db, fence, where, stages)
    if claim is None:
        await leases.release(db, fence)
    return claim


async def _leased(
    db: Collections, fence: Fence, where: Mapping[str, Any], stages: Sequence[Stage]
) -> Claim | None:
    """Hand the task to the owner of a newer lease."""
    found = await raw(db.tasks).find_one_and_update(
        {"_id": fence.task_id, "lease_epoch": {"$lt": fence.epoch}, **where},
        stages,
        projection=fields(Claimed),
        return_document=ReturnDocument.AFTER,
    )
    return None if found is None else await _claim(db, fence, Claimed.model_validate(found))


async def _claim(db: Collections, fence: Fence, task: Claimed) -> Claim:
    return Claim(
        fence=fence,
        owner=task.owner,
        state=task.state,
        attempt=_attempt(task.attempt),
        body=await _text(db, task.id, task.body),
        logs=(await _text(db, task.id, task.logs)).full if task.logs else "",
        needs=needs_of(task.needs),
        name=task.name,
        warnings=tuple(task.warnings),
    )


async def _text(db: Collections, task_id: str, piece: Piece) -> Text:
    large = await texts.load(db, [piece], View.FULL)
    large_basic = await texts.load(db, [piece], View.BASIC)
    if large is None or large_basic is None:
        raise StoreError(f"a text of task {task_id} is missing: restore the collection `texts`")
    return texts.text_of(piece, large, large_basic)


def _attempt(stored: StoredAttempt) -> Attempt:
    return Attempt(
        number=stored.number,
        backend=stored.backend or "",
        phase=Phase(stored.phase or Phase.STAGING),
        handle=stored.handle,
        place=stored.place,
        outcome=stored.outcome,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a write, the number of its event or 0, and whether it ended the attempt."""

    written: Written
    number: int = 0
    ended: bool = False


async def write(db: Collections, fence: Fence, change: Change) -> Outcome:
    """One guarded write of a worker."""
    requeued = change.transition is Transition.REQUEUE
    left = await _logs_left(db, fence) if requeued else change.logs
    body = await texts.put(db, fence.task_id, change.body) if change.body else None
    logs = await texts.put(db, fence.task_id, left) if left else None
    before = await _write(db, fence, change, _pieces(body=body, logs=logs))
    if before is None:
        await texts.drop(db, [body, logs])
        return Outcome(await _refused(db, fence))
    state, ended = before.state, False
    if change.transition is not None:
        state = target(before.state, change.transition) or before.state
        ended = ends(state)
    new_logs = logs or requeued
    replaced = [old for old, new in ((before.body, body), (before.logs, new_logs)) if new]
    await _clear(db, fence, state, ended, replaced)
    number = before.events + 1 if change.transition else 0
    return Outcome(Written(state, applied=True), number, ended)


def ends(to: State) -> bool:
    """Whether an attempt is over with a write that leads there."""
    return to in TERMINAL or to is INITIAL


async def _logs_left(db: Collections, fence: Fence) -> Text | None:
    """The logs without this attempt's. Nobody but the lease's owner writes any."""
    mine = {"_id": fence.task_id, "lease_epoch": fence.epoch}
    found = await db.tasks.find_one(mine, projection_model=Noted)
    if found is None or found.logs is None or found.attempt.number <= 1:
        return None
    return earlier_logs(await _text(db, fence.task_id, found.logs), found.attempt.number)


def _pieces(**pieces: Piece | None) -> dict[str, Any]:
    return {
        name: literal(piece.model_dump(exclude_none=True))
        for name, piece in pieces.items()
        if piece is not None
    }


async def _write(
    db: Collections, fence: Fence, change: Change, members: dict[str, Any]
) -> Before | None:
    transition = change.transition
    # A queued task has no worker, whatever the epoch of its last one was.
    allowed = [s.value for s in (sources(transition) if transition else LIVE) if s in LIVE]
    found = await raw(db.tasks).find_one_and_update(
        {"_id": fence.task_id, "lease_epoch": fence.epoch, "state": {"$in": allowed}},
        _stages(change, members),
        projection=fields(Before),
        return_document=ReturnDocument.BEFORE,
    )
    return None if found is None else Before.model_validate(found)


def _stages(change: Change, members: dict[str, Any]) -> list[Stage]:
    """The write as one pipeline."""
    targets = set(sources(change.transition).values()) if change.transition else set()
    if targets and all(ends(to) for to in targets):
        raised = 1 if change.transition is Transition.RETRY else 0
        # Nothing but the number is left of an attempt that is over.
        number = {"number": {"$add": ["$attempt.number", raised]}}
        members["attempt"] = {"$mergeObjects": [number]}
    elif change.attempt is not None:
        members["attempt"] = {"$mergeObjects": ["$attempt", literal(_progress(change.attempt))]}
    if targets == {INITIAL}:
        members["due"] = after(change.delay_seconds)
    stages: list[Stage] = [{"$set": {"lease_epoch": "$lease_epoch", **members}}]
    if change.transition is Transition.REQUEUE and "logs" not in members:
        stages.append({"$unset": "logs"})
    if change.transition is not None:
        stages += moved(change.transition, change.reason)
    return stages


def _progress(attempt: Attempt) -> dict[str, str | None]:
    return {
        "phase": attempt.phase.value,
        "handle": attempt.handle,
        "place": attempt.place,
        "outcome": attempt.outcome,
    }


async def _refused(db: Collections, fence: Fence) -> Written:
    """Why a write did not happen."""
    task = await leases.guarded(db, fence.task_id)
    if task is None:
        return Written(State.UNKNOWN, applied=False, lost=True)
    lost = task.lease_epoch != fence.epoch or task.state not in LIVE
    return Written(task.state, applied=False, lost=lost)


async def _clear(
    db: Collections, fence: Fence, state: State, ended: bool, replaced: Sequence[Piece | None]
) -> None:
    """Clean up after a write that is stored: what fails here heals itself later."""
    try:
        await texts.drop(db, replaced)
        if ended:
            await _end_lease(db, fence, state)
            await raw(db.tails).delete_one({"_id": fence.task_id, "epoch": {"$lte": fence.epoch}})
    except PyMongoError as error:
        _log.warning("Remains of an attempt at %s are left behind: %s", fence.task_id, error)


async def _end_lease(db: Collections, fence: Fence, state: State) -> None:
    if state in TERMINAL:
        await leases.end(db, fence)
    else:
        await leases.free(db, fence)


async def tail(db: Collections, fence: Fence, tails: Mapping[str, str]) -> None:
    """Replace the live tails, if the lease is the caller's."""
    mine = {"_id": fence.task_id, "epoch": fence.epoch, "backend": {"$exists": True}}
    if await db.leases.find_one(mine, projection_model=TaskId) is None:
        return
    update = {
        "$set": {"epoch": fence.epoch, "text": json.dumps(dict(tails))},
        "$currentDate": {"touched": True},
    }
    older = {"_id": fence.task_id, "epoch": {"$lte": fence.epoch}}
    collection = raw(db.tails).with_options(write_concern=_NOT_DURABLE)
    try:
        await collection.update_one(older, update, upsert=True)
    except DuplicateKeyError:
        # Those of a later owner are there.
        return
