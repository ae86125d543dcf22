"""Figures about the service, out of the collections."""

from collections.abc import Mapping, Sequence
from typing import Any

from tesp.store.figures import Reading, Standing
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.events import end
from tesp.store.mongo.expressions import NOW, after, literal
from tesp.tes.states import State

_KEPT_SECONDS = 86_400


async def counts(db: Collections) -> Mapping[State, int]:
    """Tasks by state, off the index."""
    stages = [{"$group": {"_id": "$state", "count": {"$sum": 1}}}]
    found = await raw(db.tasks).aggregate(stages, hint="by_state")
    return {State(row["_id"]): int(row["count"]) async for row in found}


async def standings(db: Collections) -> Sequence[Standing]:
    """Every cursor. The log has no holes: how many wait can be told by the numbers."""
    last = await end(db)
    cursors = await raw(db.cursors).find({}).sort("_id").to_list()
    wanted = [cursor["sequence"] + 1 for cursor in cursors]
    query = raw(db.log).find(
        {"sequence": {"$in": wanted, "$lte": last}}, {"sequence": 1, "time": 1}
    )
    times = {entry["sequence"]: entry["time"] / 1000 async for entry in query}
    return [_standing(cursor, last, times) for cursor in cursors]


def _standing(cursor: dict[str, Any], last: int, times: Mapping[int, float]) -> Standing:
    sequence, moved = cursor["sequence"], cursor.get("moved")
    seconds = None if moved is None else moved / 1000
    return Standing(cursor["_id"], max(0, last - sequence), times.get(sequence + 1), seconds)


async def note(db: Collections, name: str, text: str) -> None:
    """Keep a reading; old ones go."""
    readings = raw(db.readings)
    await readings.update_one(
        {"_id": name}, [{"$set": {"text": literal(text), "time": NOW}}], upsert=True
    )
    await readings.delete_many({"$expr": {"$lt": ["$time", after(-_KEPT_SECONDS)]}})


async def readings(db: Collections) -> Sequence[Reading]:
    """All readings."""
    found = await raw(db.readings).find({}).sort("_id").to_list()
    return [Reading(row["_id"], row["text"], row["time"] / 1000) for row in found]
