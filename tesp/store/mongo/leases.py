"""Leases, outside the documents of what is leased: a renewal rewrites some hundred bytes.

The lease is taken first and raises the epoch; then the task takes over the epoch, and from
there on no worker with a lower one can write it. What a crash leaves in between is a lease
that runs out, or one of a task that nobody works on: `release` cleans up the latter.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from tesp.store import Fence, Renewal
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.expressions import after, literal, passed, taken
from tesp.store.mongo.projections import Guarded, Leased, TaskId
from tesp.tes.states import INITIAL, TERMINAL, State

_DONE = ReturnDocument.AFTER


async def guarded(db: Collections, task_id: str) -> Guarded | None:
    """The state, epoch and attempt of a task."""
    return await db.tasks.find_one({"_id": task_id}, projection_model=Guarded)


async def take(
    db: Collections, task_id: str, backend: str, holder: str, lease_seconds: float
) -> int | None:
    """Take the free lease of a queued task: its epoch, or None while another has it."""
    for _ in range(2):
        epoch, mine = await _take(db, task_id, backend, holder, lease_seconds)
        if mine:
            return epoch
        if not await _cleared(db, Fence(task_id, epoch)):
            return None
    return None


async def _cleared(db: Collections, held: Fence) -> bool:
    """Free what a crash left: the lease of an attempt that is over, or was never begun."""
    task = await guarded(db, held.task_id)
    if task is None or task.state is not INITIAL:
        return False
    if task.lease_epoch >= held.epoch:
        return await free(db, held, task.lease_epoch)
    return await free(db, held, where={"$expr": passed("expires")})


async def _take(
    db: Collections, task_id: str, backend: str, holder: str, lease_seconds: float
) -> tuple[int, bool]:
    token = f"{holder}/{uuid.uuid4().hex}"
    members = {
        "epoch": {"$add": [{"$ifNull": ["$epoch", 0]}, 1]},
        "holder": literal(token),
        "backend": literal(backend),
        "expires": after(lease_seconds),
    }
    stages = taken({"$not": [{"$ifNull": ["$backend", False]}]}, members)
    try:
        lease = await raw(db.leases).find_one_and_update(
            {"_id": task_id}, stages, upsert=True, return_document=_DONE
        )
    except DuplicateKeyError:  # another's upsert was faster
        return 0, False
    return (lease["epoch"], lease["holder"] == token) if lease else (0, False)


async def take_over(
    db: Collections, lease: Leased, holder: str, lease_seconds: float
) -> Fence | None:
    """Raise the epoch of a lease that has run out; None where another was faster."""
    stages = [
        {
            "$set": {
                "epoch": {"$add": ["$epoch", 1]},
                "holder": literal(holder),
                "expires": after(lease_seconds),
            }
        }
    ]
    run_out = {"_id": lease.id, "epoch": lease.epoch, "$expr": passed("expires")}
    found = await raw(db.leases).find_one_and_update(run_out, stages, return_document=_DONE)
    return None if found is None else Fence(lease.id, found["epoch"])


async def run_out(db: Collections, backends: Sequence[str], limit: int) -> Sequence[Leased]:
    """Leases on these backends that have run out, those that have longest first."""
    where = {"backend": {"$in": list(backends)}, "$expr": passed("expires")}
    query = db.leases.find(where, hint="by_expiry").sort("expires").limit(limit)
    return await query.project(Leased).to_list()


async def stranded(db: Collections) -> Sequence[str]:
    """The backends of leases that have run out."""
    where: dict[str, object] = {"$expr": passed("expires"), "backend": {"$ne": None}}
    stages: list[dict[str, object]] = [{"$match": where}, {"$group": {"_id": "$backend"}}]
    found = await (await raw(db.leases).aggregate(stages)).to_list()
    return sorted(row["_id"] for row in found)


async def release(db: Collections, fence: Fence) -> None:
    """Give back a lease that came to nothing: its task is not to be had, or is another's."""
    task = await guarded(db, fence.task_id)
    if task is None or task.state in TERMINAL:
        await end(db, fence)
    elif task.state is INITIAL or task.attempt.backend is None:
        await free(db, fence, task.lease_epoch)
    else:
        await _offer(db, fence, task.attempt.backend, task.lease_epoch)


async def _offer(db: Collections, fence: Fence, backend: str, least_epoch: int) -> None:
    """An attempt is going on: whoever works on its backend may adopt it at once."""
    epoch = max(fence.epoch, least_epoch)
    update = {"$set": {"epoch": epoch, "backend": backend, "expires": 0}}
    await raw(db.leases).update_one({"_id": fence.task_id, "epoch": fence.epoch}, update)


async def end(db: Collections, fence: Fence) -> None:
    """Nobody will work on that task any more."""
    await raw(db.leases).delete_one({"_id": fence.task_id, "epoch": fence.epoch})


async def forget(db: Collections, task_id: str) -> None:
    """A queued task has ended: no attempt will need its free lease."""
    await raw(db.leases).delete_one({"_id": task_id, "backend": {"$exists": False}})


async def free(
    db: Collections, fence: Fence, least_epoch: int = 0, where: Mapping[str, Any] | None = None
) -> bool:
    """The task is to be had. The epoch rises, so that nothing of the old owner fits it."""
    done = await raw(db.leases).update_one(
        {"_id": fence.task_id, "epoch": fence.epoch, **(where or {})},
        {
            "$set": {"epoch": max(fence.epoch, least_epoch) + 1, "holder": "", "expires": 0},
            "$unset": {"backend": 1},
        },
    )
    return done.matched_count > 0


async def renew(
    db: Collections, fences: Sequence[Fence], lease_seconds: float
) -> Sequence[Renewal]:
    """Prolong leases."""
    if not fences:
        return []
    until = [{"$set": {"expires": after(lease_seconds)}}]
    writes = [UpdateOne({"_id": f.task_id, "epoch": f.epoch}, until) for f in fences]
    await raw(db.leases).bulk_write(writes, ordered=False)
    epochs, canceling = await asyncio.gather(_epochs(db, fences), _canceling(db, fences))
    return [
        Renewal(f, canceling=f.task_id in canceling)
        if epochs.get(f.task_id) == f.epoch
        else Renewal(f, lost=True)
        for f in fences
    ]


async def _epochs(db: Collections, fences: Sequence[Fence]) -> dict[str, int]:
    query = db.leases.find({"_id": {"$in": [f.task_id for f in fences]}})
    return {lease.id: lease.epoch for lease in await query.project(Leased).to_list()}


async def _canceling(db: Collections, fences: Sequence[Fence]) -> set[str]:
    where = {"state": State.CANCELING.value, "_id": {"$in": [f.task_id for f in fences]}}
    query = db.tasks.find(where, hint="by_state").project(TaskId)
    return {task.id for task in await query.to_list()}


async def hold(db: Collections, name: str, holder: str, lease_seconds: float) -> bool:
    """Take or prolong a named lease."""
    free_or_mine = {"$or": [{"$eq": ["$holder", literal(holder)]}, passed("expires")]}
    stages = taken(free_or_mine, {"holder": literal(holder), "expires": after(lease_seconds)})
    try:
        held = await raw(db.holds).find_one_and_update(
            {"_id": name}, stages, upsert=True, return_document=_DONE
        )
    except DuplicateKeyError:
        return False
    return held is not None and bool(held["holder"] == holder)
