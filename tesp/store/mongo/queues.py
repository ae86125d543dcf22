"""What is queued: the owners in turn, and for each the tasks that have waited longest."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

from tesp.store import Candidate
from tesp.store.mongo.connection import Collections
from tesp.store.mongo.expressions import NOW, passed
from tesp.store.mongo.projections import Due, Leased, TaskId, Waiting
from tesp.store.mongo.tasks import needs_of
from tesp.tes.states import INITIAL

_QUEUED = {"state": INITIAL.value}
_MOST_TO_COME = 1000


async def queued(
    db: Collections, per_owner: int, owners: int, after: str | None
) -> tuple[Sequence[Candidate], str | None]:
    """The oldest due tasks of `owners` owners, beginning behind `after`; the last owner."""
    found: list[Candidate] = []
    last, served = after, 0
    known = sorted(await db.tasks.distinct("owner", _QUEUED))
    turn = bisect_right(known, after) if after is not None else 0
    in_turn = [*known[turn:], *known[:turn]]
    while in_turn and served < owners:
        some, in_turn = in_turn[: owners - served], in_turn[owners - served :]
        for rows in await asyncio.gather(*(_due(db, owner, per_owner) for owner in some)):
            found.extend(_candidate(row) for row in rows)
            served += bool(rows)
            last = rows[-1].owner if rows else last
    return found, last


def _candidate(row: Waiting) -> Candidate:
    return Candidate(row.id, row.owner, needs_of(row.needs), {p.k: p.v for p in row.tags})


async def _due(db: Collections, owner: str, most: int) -> Sequence[Waiting]:
    query = db.tasks.find({**_QUEUED, "owner": owner, "$expr": passed("due")}, hint="queued")
    return await query.sort("due", "_id").limit(most).project(Waiting).to_list()


async def work_at_hand(db: Collections) -> bool:
    """Whether a task is due, or an attempt is going on."""
    task = await db.tasks.find_one(
        {**_QUEUED, "$expr": passed("due")}, projection_model=TaskId, hint="queued"
    )
    if task is not None:
        return True
    held = {"backend": {"$gte": ""}}
    return await db.leases.find_one(held, projection_model=Leased, hint="by_expiry") is not None


async def to_come(db: Collections) -> Sequence[int]:
    """When tasks that wait for another attempt will be due."""
    query = db.tasks.find({**_QUEUED, "$expr": {"$gt": ["$due", NOW]}}, hint="queued")
    return [row.due for row in await query.limit(_MOST_TO_COME).project(Due).to_list()]
