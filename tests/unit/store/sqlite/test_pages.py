"""A page looks at a bounded number of rows, however many tasks there are."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tesp.store import NewTask, Page, TaskQuery
from tesp.store.sqlite import pages, tasks
from tesp.store.sqlite.pages import successor
from tesp.store.sqlite.schema import open_writer
from tesp.tes.states import State
from tesp.tes.views import Text, View

BODY = Text('"executors":[]')


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_writer(tmp_path / "t.sqlite")
    yield connection
    connection.close()


def fill(db: sqlite3.Connection, first: int, count: int) -> list[str]:
    """Tasks with running ids; every hundredth is ann's, with a tag and a name of its own."""
    ids = [f"{n:026d}" for n in range(first, first + count)]
    db.execute("BEGIN")
    for n, task_id in enumerate(ids, first):
        rare = n % 100 == 0
        owner, name = ("ann", "rare") if rare else ("bob", "common")
        tags = {"kind": name, "all": "x"}
        tasks.create(db, NewTask(task_id, owner, BODY, name, tags), float(n))
    db.execute("COMMIT")
    return ids


def walk(db: sqlite3.Connection, query: TaskQuery, scanned: int) -> list[Page]:
    """All pages, with few rows scanned for each."""
    found = [pages.page(db, query, scanned)]
    while (after := found[-1].next) is not None:
        found.append(pages.page(db, replace(query, after=after), scanned))
    return found


def test_a_page_ends_short_where_too_many_rows_do_not_match(db: sqlite3.Connection) -> None:
    ids = fill(db, 0, 300)
    query = TaskQuery(tags=(("all", "x"), ("all", None)), name_prefix="c", owner="bob", size=50)

    short = pages.page(db, query, scanned=7)

    assert [t.id for t in short.tasks] == ids[:-8:-1]
    assert short.next == ids[-7]


@pytest.mark.parametrize("scanned", [1, 3, 199, 200, 201])
def test_short_pages_together_hold_every_match_once(db: sqlite3.Connection, scanned: int) -> None:
    ids = fill(db, 0, 200)
    ended = ids[::3]
    for task_id in ended:
        tasks.cancel(db, task_id, 0.0)

    for query, wanted in [
        (TaskQuery(size=4), ids),
        (TaskQuery(size=4, name_prefix="rare"), ids[::100]),
        (TaskQuery(size=100, name_prefix="common", owner="ann"), []),
        (TaskQuery(size=4, states=frozenset({State.CANCELED, State.QUEUED}), owner="bob"), None),
        (TaskQuery(size=4, states=frozenset({State.CANCELED}), tags=(("kind", "rare"),)), None),
    ]:
        seen = [t.id for p in walk(db, query, scanned) for t in p.tasks]
        if wanted is None:
            wanted = [i for i in ids if _matches(db, query, i)]
        assert seen == wanted[::-1], query


def _matches(db: sqlite3.Connection, query: TaskQuery, task_id: str) -> bool:
    owner, state, name = db.execute(
        "SELECT owner, state, name FROM tasks WHERE id = ?", (task_id,)
    ).fetchone()
    wanted = dict(query.tags).get("kind")
    return (
        query.owner in (None, owner)
        and (query.states is None or state in query.states)
        and wanted in (None, name)
    )


@pytest.mark.parametrize(
    "query",
    [
        TaskQuery(owner="ann", tags=(("all", "x"),)),
        TaskQuery(owner="bob", tags=(("all", "x"), ("kind", "rare"))),
        TaskQuery(owner="bob", name_prefix="rare", states=frozenset({State.QUEUED})),
    ],
)
def test_the_index_with_the_fewest_rows_drives(db: sqlite3.Connection, query: TaskQuery) -> None:
    fill(db, 0, 3000)

    # Each has thirty rows in its narrowest index, and thousands in the others.
    assert len(walk(db, query, scanned=30)) == 1


def work(db: sqlite3.Connection, query: TaskQuery | None, task_id: str = "") -> int:
    """How many steps of its machine SQLite takes for a page, or for one task."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    db.set_progress_handler(count, 1)
    if query is None:
        assert tasks.get(db, task_id, View.FULL)
    else:
        assert pages.page(db, query).tasks
    db.set_progress_handler(None, 1)
    return steps


def test_a_page_and_a_look_at_one_task_cost_the_same_in_a_large_store(
    db: sqlite3.Connection,
) -> None:
    queries = [
        TaskQuery(),
        TaskQuery(tags=(("all", "x"),)),
        TaskQuery(tags=(("all", None),)),
        TaskQuery(owner="bob"),
        TaskQuery(states=frozenset({State.QUEUED, State.RUNNING})),
        TaskQuery(states=frozenset({State.QUEUED}), owner="bob"),
    ]
    ids = fill(db, 0, 1000)
    small = [*(work(db, q) for q in queries), work(db, None, ids[500])]
    fill(db, 1000, 10000)

    large = [*(work(db, q) for q in queries), work(db, None, ids[500])]

    assert [b <= a * 1.3 for a, b in zip(small, large, strict=True)] == [True] * 7


@pytest.mark.parametrize(
    ("prefix", "above"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("a\U0010ffff", "b"),
        ("\ud7ff", "\ue000"),
        ("\uffff", "\U00010000"),
        ("\U0010ffff", None),
    ],
    ids=ascii,
)
def test_the_successor_of_a_prefix_is_the_least_text_above_it(
    prefix: str, above: str | None
) -> None:
    assert successor(prefix) == above
