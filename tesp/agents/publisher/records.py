"""What the publisher remembers: the tasks that it heard of, and what it has published of them.

Each function is for one transaction of the notebook.
"""

import sqlite3
from dataclasses import dataclass

from tesp.agents.publisher.rules import Output

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
  task TEXT PRIMARY KEY, correlation TEXT NOT NULL, hops INTEGER NOT NULL,
  heard REAL NOT NULL, tries INTEGER NOT NULL DEFAULT 0, due REAL, reason TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tasks_due ON tasks (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS copies (
  task TEXT NOT NULL, url TEXT NOT NULL, source TEXT NOT NULL, size INTEGER NOT NULL,
  sha256 TEXT NOT NULL, PRIMARY KEY (task, url)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
  task TEXT NOT NULL, manifest TEXT NOT NULL, PRIMARY KEY (task, manifest)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """A finished task that was heard of: whose cause it shares, and how often it was tried."""

    task: str
    correlation: str
    hops: int
    tries: int


def hear(db: sqlite3.Connection, heard: Heard, now: float) -> bool:
    """Note a task; False where it is known already."""
    row = (heard.task, heard.correlation, heard.hops, now, now)
    return bool(
        db.execute(
            "INSERT OR IGNORE INTO tasks (task, correlation, hops, heard, due)"
            " VALUES (?, ?, ?, ?, ?)",
            row,
        ).rowcount
    )


def again(db: sqlite3.Connection, task: str, now: float) -> bool:
    """Try a task that failed anew, from the first try on; False where none of that name has."""
    return bool(
        db.execute(
            "UPDATE tasks SET due = ?, tries = 0, reason = NULL"
            " WHERE task = ? AND due IS NULL AND reason IS NOT NULL",
            (now, task),
        ).rowcount
    )


def due(db: sqlite3.Connection, limit: int) -> list[tuple[float, Heard]]:
    """The tasks that are to be published, and from when on; the earliest first."""
    rows = db.execute(
        "SELECT due, task, correlation, hops, tries FROM tasks WHERE due IS NOT NULL"
        " ORDER BY due LIMIT ?",
        (limit,),
    )
    return [(row[0], Heard(*row[1:])) for row in rows]


def postpone(db: sqlite3.Connection, task: str, until: float, tries: int) -> None:
    """It is tried again then."""
    db.execute("UPDATE tasks SET due = ?, tries = ? WHERE task = ?", (until, tries, task))


def settle(db: sqlite3.Connection, task: str, reason: str | None) -> None:
    """It is done with; `reason` says why, where it failed."""
    db.execute("UPDATE tasks SET due = NULL, reason = ? WHERE task = ?", (reason, task))


def drop(db: sqlite3.Connection, task: str) -> None:
    """As if it had never been heard of."""
    db.execute("DELETE FROM tasks WHERE task = ?", (task,))


def digest(db: sqlite3.Connection, task: str, url: str, output: Output) -> str | None:
    """The digest of what was copied to this URL; None where that is not done."""
    row = db.execute(
        "SELECT sha256 FROM copies WHERE task = ? AND url = ? AND source = ? AND size = ?",
        (task, url, output.url, output.size),
    ).fetchone()
    return row and str(row[0])


def copied(db: sqlite3.Connection, task: str, url: str, output: Output, sha256: str) -> None:
    """It is there now."""
    row = (task, url, output.url, output.size, sha256)
    db.execute("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?)", row)


def is_published(db: sqlite3.Connection, task: str, manifest: str) -> bool:
    """Whether all that this manifest lists is there, the manifest too, and is told."""
    query = "SELECT 1 FROM published WHERE task = ? AND manifest = ?"
    return db.execute(query, (task, manifest)).fetchone() is not None


def publish(db: sqlite3.Connection, task: str, manifest: str) -> None:
    """It is."""
    db.execute("INSERT OR IGNORE INTO published VALUES (?, ?)", (task, manifest))


def forget(db: sqlite3.Connection, before: float) -> None:
    """Forget tasks that were heard of before, but for those that are still to be published."""
    old = "SELECT task FROM tasks WHERE heard < ? AND due IS NULL"
    for table in ("copies", "published", "tasks"):
        db.execute(f"DELETE FROM {table} WHERE task IN ({old})", (before,))
