"""Pages: the best index drives, the other filters are looked up row by row.

All indexes that drive end with the task's id, so that a page is read off in order. The index
of names alone does not: it drives where few names match, and their ids are then sorted.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesp.store import Page, TaskQuery
from tesp.store.sqlite.tasks import shown
from tesp.tes.states import State
from tesp.tes.views import TaskText, View

SCANNED = 5000  # rows of the driving index that one page looks at
_WEIGHED = 1000  # rows that are counted at most to see which index is best
_END = "\U0010ffff"  # above every id

_ALL = "SELECT id FROM tasks WHERE id < ? ORDER BY id DESC"
_OWNER = "SELECT id FROM tasks WHERE owner = ? AND id < ? ORDER BY id DESC"
_STATE = "SELECT id FROM tasks WHERE state = ? AND id < ?"
_OWNER_STATE = "SELECT id FROM tasks WHERE owner = ? AND state = ? AND id < ?"
_NAMES = "SELECT id FROM tasks WHERE name >= ? AND name < ? AND id < ?"
_NAMES_FROM = "SELECT id FROM tasks WHERE name >= ? AND id < ?"
_TAG = "SELECT task AS id FROM tags WHERE key = ? AND value = ? AND task < ? ORDER BY task DESC"
_TAG_KEY = "SELECT task AS id FROM tags WHERE key = ? AND task < ? ORDER BY task DESC"
_HAS_TAG = "EXISTS (SELECT 1 FROM tags WHERE key = ? AND value = ? AND task = t.id)"
_HAS_KEY = "EXISTS (SELECT 1 FROM tags WHERE key = ? AND task = t.id)"
_IN_HAND = "SELECT value AS id FROM json_each(?)"

Part = tuple[str, tuple[Any, ...]]  # SQL, and its parameters

# Between the texts of a page: ASCII's own sign for it. No id holds it, and no JSON text, where
# it is escaped.
_SEPARATOR = "\x1f"
_JOINED = " || char(31) || "
_COLUMNS = {
    View.MINIMAL: ("t.id", "t.state"),
    View.BASIC: ("t.id", "t.state", "coalesce(b.basic, b.full)", "coalesce(l.basic, l.full, '')"),
    View.FULL: ("t.id", "t.state", "b.full", "coalesce(l.full, '')", "coalesce(a.streams, '')"),
}
_TEXTS = " CROSS JOIN bodies b ON b.task = t.id LEFT JOIN logs l ON l.task = t.id"
_JOINS = {
    View.MINIMAL: "",
    View.BASIC: _TEXTS,
    View.FULL: _TEXTS + " LEFT JOIN tails a ON a.task = t.id",
}


@dataclass(frozen=True, slots=True)
class Driver:
    """One filter with an index of its own: `select` gives ids, newest first if `ordered`.

    `match` is the same filter for a row of tasks `t`.
    """

    select: Part
    match: Part
    ordered: bool = True


def page(db: sqlite3.Connection, query: TaskQuery, scanned: int = SCANNED) -> Page:
    """One page, out of one snapshot."""
    if query.states is not None and not query.states:
        return Page([])
    db.execute("BEGIN")
    try:
        return _page(db, query, scanned)
    finally:
        db.execute("COMMIT")


def named(db: sqlite3.Connection, ids: Sequence[str], view: View) -> Mapping[str, TaskText]:
    """Those of these tasks that there are, out of one snapshot."""
    driver = Driver((_IN_HAND, (json.dumps(ids),)), ("TRUE", ()))
    tasks = _tasks(db, TaskQuery(view, len(ids)), driver, [], len(ids))
    return {task.id: task for task in tasks}


def _page(db: sqlite3.Connection, query: TaskQuery, scanned: int) -> Page:
    drivers = drivers_of(query)
    driver = _best(db, drivers, scanned)
    others = [d for d in drivers if d is not driver]
    if not driver.ordered:
        driver = _sorted(db, driver)
    tasks = _tasks(db, query, driver, others, scanned)
    if len(tasks) > query.size:
        return Page(tasks[:-1], tasks[-2].id)
    # The last row that was looked at, and one more if there is any.
    ends = db.execute(*ends_sql(driver, scanned)).fetchall()
    return Page(tasks, ends[0][0] if len(ends) == 2 else None)


def _tasks(
    db: sqlite3.Connection, query: TaskQuery, driver: Driver, others: Sequence[Driver], scanned: int
) -> list[TaskText]:
    (text,) = db.execute(*rows_sql(query, driver, others, scanned)).fetchone()
    return [shown(row) for row in _rows(text, len(_COLUMNS[query.view]))]


def _rows(text: str | None, width: int) -> list[tuple[str, ...]]:
    """The rows in a text, newest first: in what order SQLite joins them is not promised."""
    texts = iter(text.split(_SEPARATOR) if text is not None else ())
    return sorted(zip(*[texts] * width, strict=True), reverse=True)


def rows_sql(query: TaskQuery, driver: Driver, others: Sequence[Driver], scanned: int) -> Part:
    """The rows of a page and one more, which tells that there is a next page; all in one text.

    Between two rows a reader lets go of the interpreter and waits for its turn: as rows of
    their own the tasks of a busy server's page took nearly twice as long.
    """
    ids, parameters = driver.select
    where = " AND ".join(d.match[0] for d in others) or "TRUE"
    matches = [p for d in others for p in d.match[1]]
    # CROSS JOIN keeps the driver in front, and with it the order.
    sql = (
        f"SELECT group_concat(line, char(31)) FROM ("
        f"SELECT {_JOINED.join(_COLUMNS[query.view])} AS line FROM ({ids} LIMIT ?) d"
        f" CROSS JOIN tasks t ON t.id = d.id{_JOINS[query.view]} WHERE {where} LIMIT ?)"
    )
    return sql, (*parameters, scanned, *matches, query.size + 1)


def ends_sql(driver: Driver, scanned: int) -> Part:
    """Where the scan of a driver ends, and the row behind."""
    ids, parameters = driver.select
    return f"{ids} LIMIT 2 OFFSET ?", (*parameters, scanned - 1)


def weight_sql(driver: Driver, most: int) -> Part:
    """How many rows a driver has, counted up to `most`."""
    ids, parameters = driver.select
    return f"SELECT count(*) FROM ({ids} LIMIT ?)", (*parameters, most)


def _best(db: sqlite3.Connection, drivers: Sequence[Driver], scanned: int) -> Driver:
    """The driver with the fewest rows; of those with many the first."""
    if len(drivers) == 1:
        return drivers[0]
    weighed = []
    for rank, driver in enumerate(drivers):
        most = _WEIGHED if driver.ordered else scanned + 1
        (count,) = db.execute(*weight_sql(driver, most)).fetchone()
        if driver.ordered or count <= scanned:
            weighed.append((min(count, _WEIGHED), rank, driver))
    return min(weighed, key=lambda w: w[:2])[2]


def _sorted(db: sqlite3.Connection, driver: Driver) -> Driver:
    """A driver of few rows, put in order."""
    ids = sorted((row[0] for row in db.execute(*driver.select)), reverse=True)
    return Driver((_IN_HAND, (json.dumps(ids),)), driver.match)


def drivers_of(query: TaskQuery) -> list[Driver]:
    """What can drive this query, the narrower kinds first; at least one that is ordered."""
    after = query.after or _END
    drivers = [_tag(key, value, after) for key, value in query.tags]
    if query.name_prefix:
        drivers.append(_name(query.name_prefix, after))
    if query.states is not None:
        drivers.append(_states(sorted(query.states), query.owner, after))
    elif query.owner is not None:
        drivers.append(_owner(query.owner, after))
    if not any(driver.ordered for driver in drivers):
        drivers.append(Driver((_ALL, (after,)), ("TRUE", ())))
    return drivers


def _tag(key: str, value: str | None, after: str) -> Driver:
    if value is None:
        return Driver((_TAG_KEY, (key, after)), (_HAS_KEY, (key,)))
    return Driver((_TAG, (key, value, after)), (_HAS_TAG, (key, value)))


def _owner(owner: str, after: str) -> Driver:
    return Driver((_OWNER, (owner, after)), ("t.owner = ?", (owner,)))


def _states(states: Sequence[State], owner: str | None, after: str) -> Driver:
    """A merge of one index range a state."""
    one, fixed = (_STATE, ()) if owner is None else (_OWNER_STATE, (owner,))
    ranges = " UNION ALL ".join([one] * len(states))
    parameters = tuple(p for state in states for p in (*fixed, state, after))
    match = f"t.state IN ({', '.join('?' * len(states))})"
    matching: tuple[Any, ...] = tuple(states)
    if owner is not None:
        match, matching = f"t.owner = ? AND {match}", (owner, *states)
    return Driver((f"{ranges} ORDER BY id DESC", parameters), (match, matching))


def _name(prefix: str, after: str) -> Driver:
    """A range of names, because it knows no signs that stand for others."""
    above = successor(prefix)
    if above is None:
        return Driver((_NAMES_FROM, (prefix, after)), ("t.name >= ?", (prefix,)), ordered=False)
    match = "t.name >= ? AND t.name < ?"
    return Driver((_NAMES, (prefix, above, after)), (match, (prefix, above)), ordered=False)


def successor(prefix: str) -> str | None:
    """The least text above all that begin with `prefix`; None where there is none."""
    kept = prefix.rstrip(_END)
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    # Surrogates are no characters of their own, and cannot be stored.
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)
