"""Where the suite finds each kind of store."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tesp.store import Store
from tesp.store.mongo import MongoStore
from tesp.store.sqlite import SqliteStore


@dataclass(frozen=True)
class Place:
    """One place with tasks; `open` gives a store over it. Close it before the next opening."""

    kind: str
    open: Callable[[], Awaitable[Store]]


def sqlite(request: pytest.FixtureRequest) -> Place:
    """A file in a directory of the test's own."""
    directory: Path = request.getfixturevalue("tmp_path")
    return Place("sqlite", lambda: SqliteStore.open(directory / "tesp.sqlite"))


def mongodb(request: pytest.FixtureRequest) -> Place:
    """A database of the test's own on a server of MongoDB's protocol."""
    uri: str = request.getfixturevalue("mongodb_uri")
    database: str = request.getfixturevalue("mongodb_database")
    return Place("mongodb", lambda: MongoStore.open(uri, database))


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "sqlite": sqlite,
    "mongodb": mongodb,
}
