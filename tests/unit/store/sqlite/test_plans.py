"""Every statement of the store is driven by an index and sorts nothing."""

import ast
import inspect
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tesp.store import TaskQuery
from tesp.store.sqlite import events, figures, leases, pages, queues, tasks, transfers
from tesp.store.sqlite.schema import open_writer
from tesp.tes.states import State
from tesp.tes.views import View

MODULES = [events, figures, leases, pages, queues, tasks, transfers]
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")

# At the opening, and only there, every lease is meant; and whose leases have run out is asked of
# all that run now, once in a long while. Sinks, and brokers to measure, are a handful.
WHOLE_TABLE = {
    *(leases._VOID_LEASES, leases._VOID_HOLDS, leases._STRANDED),
    *(figures._STANDINGS, figures._READINGS),
}


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_writer(tmp_path / "t.sqlite")
    yield connection
    connection.close()


def statements(module: ModuleType) -> Iterator[str]:
    """All SQL that the module has as a constant."""
    for value in vars(module).values():
        parts = value.values() if isinstance(value, dict) else value
        for text in [value] if isinstance(value, str) else parts if _many(value) else ():
            if isinstance(text, str) and text.startswith(VERBS) and "{" not in text:
                yield text


def _many(value: object) -> bool:
    return isinstance(value, dict | tuple)


def plan(db: sqlite3.Connection, sql: str, parameters: tuple[object, ...] | None = None) -> str:
    """What SQLite would do."""
    if parameters is None:
        parameters = (None,) * sql.count("?")
    return "\n".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))


def wrong(db: sqlite3.Connection, planned: str) -> list[str]:
    """The steps of a plan that look at a whole table, or sort."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    tables |= {"t", "b", "l", "a"}
    return [
        line
        for line in planned.splitlines()
        if "TEMP B-TREE" in line
        or (line.startswith("SCAN ") and line.split()[1] in tables)
        or "AUTOMATIC" in line
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.rpartition(".")[2])
def test_no_statement_scans_a_table_or_sorts(db: sqlite3.Connection, module: ModuleType) -> None:
    found = [s for s in statements(module) if s not in WHOLE_TABLE]

    assert found
    assert {s: bad for s in found if (bad := wrong(db, plan(db, s)))} == {}


FILTERS = {
    "owner": [None, "ann"],
    "states": [None, frozenset({State.RUNNING}), frozenset({State.RUNNING, State.CANCELING})],
    "name_prefix": [None, "n", "\U0010ffff"],
    "tags": [(), (("k", "v"),), (("k", None),), (("k", "v"), ("l", None))],
    "view": list(View),
}


def test_no_page_scans_a_table_or_sorts(db: sqlite3.Connection) -> None:
    seen = 0
    for values in itertools.product(*FILTERS.values()):
        query = TaskQuery(**dict(zip(FILTERS, values, strict=True)))
        drivers = pages.drivers_of(query)
        for driver in drivers:
            others = [d for d in drivers if d is not driver]
            for sql, parameters in (
                pages.rows_sql(query, driver, others, 9),
                pages.ends_sql(driver, 9),
                pages.weight_sql(driver, 9),
                driver.select,
            ):
                seen += 1
                assert wrong(db, plan(db, sql, parameters)) == [], (sql, query)
    assert seen > 1000


def test_a_scan_and_a_sort_would_be_found(db: sqlite3.Connection) -> None:
    assert wrong(db, plan(db, "SELECT * FROM tasks t WHERE needs = ?"))
    assert wrong(db, plan(db, "SELECT * FROM tasks WHERE owner = ? ORDER BY due"))


def test_all_sql_is_where_these_tests_look() -> None:
    package = Path(inspect.getfile(pages)).parent
    looked_at = {Path(inspect.getfile(m)) for m in MODULES}
    for file in package.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr not in ("execute", "executemany"):
                continue
            sql = node.args[0]
            literal = isinstance(sql, ast.Constant | ast.JoinedStr)
            text = ast.unparse(sql).lstrip("f'\"") if literal else ""
            if file in looked_at:
                assert not text.startswith(VERBS), f"{file}:{node.lineno}"
            else:
                assert literal, f"{file}:{node.lineno}"
                assert not text.startswith(VERBS) or "sqlite_schema" in text
