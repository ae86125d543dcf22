"""Pages: one index drives and is told to, so that the scan is in order and bounded.

Every index that drives ends with the id, newest first. The index of names alone does not: it
drives where few names match, and their ids are then sorted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesp.store import Page, TaskQuery
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.projections import Minimal, TaskId
from tesp.store.mongo.tasks import show
from tesp.tes.states import State
from tesp.tes.views import TaskText, View

SCANNED = 2000  # entries of the driving index that one page looks at
_WEIGHED = 1000  # entries that are counted at most to see which index is best
_NEWEST_FIRST = "-_id"

Filter = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Driver:
    """One filter, and the index that answers it, newest first if `ordered`."""

    index: str
    match: Filter
    ordered: bool = True


async def page(db: Collections, query: TaskQuery, scanned: int = SCANNED) -> Page:
    """One page."""
    drivers = drivers_of(query)
    driver, weight = await _best(db, drivers, scanned)
    window: dict[str, Any] = {"$lt": query.after} if query.after is not None else {}
    end = None
    if driver.ordered and weight >= min(_WEIGHED, scanned) and len(drivers) > 1:
        end = await _end(db, driver, window, scanned)
        window = {**window, "$gte": end} if end is not None else window
    ids = [{"_id": window}] if window else []
    where = {"$and": [*(d.match for d in drivers), *ids]}
    rows = await (
        db.tasks.find(where, hint=driver.index)
        .sort(_NEWEST_FIRST)
        .limit(query.size + 1)
        .project(Minimal)
        .to_list()
    )
    more = rows[query.size - 1].id if len(rows) > query.size else end
    return Page(await _shown(db, rows[: query.size], query.view), more)


async def _shown(db: Collections, rows: Sequence[Minimal], view: View) -> Sequence[TaskText]:
    if view is View.MINIMAL or not rows:
        return [TaskText(row.id, row.state) for row in rows]
    return await show(db, [row.id for row in rows], view)


async def _end(db: Collections, driver: Driver, window: Filter, scanned: int) -> str | None:
    """Where the scan of a driver ends; None where it comes to the end of all."""
    where = {"$and": [driver.match, {"_id": window}]} if window else dict(driver.match)
    rows = await (
        db.tasks.find(where, hint=driver.index)
        .sort(_NEWEST_FIRST)
        .skip(scanned - 1)
        .limit(2)
        .project(TaskId)
        .to_list()
    )
    return rows[0].id if len(rows) == 2 else None


async def _best(db: Collections, drivers: Sequence[Driver], scanned: int) -> tuple[Driver, int]:
    """The driver with the fewest entries, and how many; of those with many the first."""
    if len(drivers) == 1:
        return drivers[0], _WEIGHED
    counts = await asyncio.gather(*(_weight(db, driver, scanned) for driver in drivers))
    weighed = [
        (min(count, _WEIGHED), rank)
        for rank, (driver, count) in enumerate(zip(drivers, counts, strict=True))
        if driver.ordered or count <= scanned
    ]
    weight, rank = min(weighed)
    return drivers[rank], weight


async def _weight(db: Collections, driver: Driver, scanned: int) -> int:
    most = _WEIGHED if driver.ordered else scanned + 1
    return await raw(db.tasks).count_documents(driver.match, limit=most, hint=driver.index)


def drivers_of(query: TaskQuery) -> list[Driver]:
    """A driver for each filter of the query; the last one is in order."""
    drivers = [_tag(key, value) for key, value in query.tags]
    if query.name_prefix:
        names = {"name": starting_with(query.name_prefix)}
        drivers.append(Driver("by_name", names, ordered=False))
    drivers += _owner_and_states(query.owner, query.states)
    if not any(driver.ordered for driver in drivers):
        drivers.append(Driver("_id_", {}))
    return drivers


def _tag(key: str, value: str | None) -> Driver:
    if value is None:
        return Driver("by_tag_key", {"tags.k": key})
    return Driver("by_tag", {"tags": {"k": key, "v": value}})


def _owner_and_states(owner: str | None, states: frozenset[State] | None) -> list[Driver]:
    match: dict[str, Any] = {}
    if owner is not None:
        match["owner"] = owner
    if states is not None:
        match["state"] = {"$in": sorted(state.value for state in states)}
    return [Driver("by_" + "_".join(match), match)] if match else []


def starting_with(prefix: str) -> Filter:
    """The range of the texts that begin with `prefix`, as MongoDB compares texts."""
    end = prefix.rstrip("\U0010ffff")
    if not end:
        return {"$gte": prefix}
    following = ord(end[-1]) + 1
    # The code points of surrogates are no characters.
    last = chr(0xE000 if following == 0xD800 else following)
    return {"$gte": prefix, "$lt": end[:-1] + last}
