"""What the collector remembers. Each function is for one transaction of the notebook."""

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from tesp.agents.metrics.alarms import Crossing
from tesp.agents.metrics.samples import Sample

SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (
  host TEXT NOT NULL, time REAL NOT NULL, body BLOB NOT NULL, PRIMARY KEY (host, time)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS samples_time ON samples (time);
CREATE TABLE IF NOT EXISTS hosts (
  host TEXT PRIMARY KEY, time REAL NOT NULL, heard REAL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarms (
  host TEXT NOT NULL, what TEXT NOT NULL, since REAL NOT NULL, value REAL, most REAL NOT NULL,
  correlation TEXT NOT NULL, PRIMARY KEY (host, what)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS running (
  task TEXT PRIMARY KEY, name TEXT, owner TEXT, started REAL NOT NULL, correlation TEXT NOT NULL,
  hops INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS running_started ON running (started) WHERE told = 0;
"""
MOST_HOSTS = 10_000


def keep(db: sqlite3.Connection, sample: Sample, now: float) -> bool:
    """Keep a sample; whether it is the newest of its host. One that came before is left as it
    is. `heard` is None where no more is expected of a host."""
    body = orjson.dumps(sample.values)
    row = db.execute("SELECT time FROM hosts WHERE host = ?", (sample.host,)).fetchone()
    if row is None and db.execute("SELECT COUNT(*) FROM hosts").fetchone()[0] >= MOST_HOSTS:
        return False
    if not sample.is_last:
        said = (sample.host, sample.time, body)
        db.execute("INSERT OR IGNORE INTO samples VALUES (?, ?, ?)", said)
    heard = None if sample.is_last else now
    if row is None:
        db.execute("INSERT INTO hosts VALUES (?, ?, ?, ?)", (sample.host, sample.time, heard, body))
        return not sample.is_last
    if sample.time <= row[0]:
        # Of an earlier time, and yet a sign of life, or of its end.
        db.execute("UPDATE hosts SET heard = ? WHERE host = ?", (heard, sample.host))
        return False
    if sample.is_last:
        db.execute(
            "UPDATE hosts SET heard = NULL, time = ? WHERE host = ?", (sample.time, sample.host)
        )
        return False
    update = "UPDATE hosts SET time = ?, heard = ?, body = ? WHERE host = ?"
    db.execute(update, (sample.time, heard, body, sample.host))
    return True


def raised(db: sqlite3.Connection, host: str) -> dict[str, str]:
    """The alarms of a host by what they are about, each with its correlation id."""
    rows = db.execute("SELECT what, correlation FROM alarms WHERE host = ?", (host,))
    return dict(rows.fetchall())


def cross(
    db: sqlite3.Connection, host: str, crossing: Crossing, correlation: str, now: float
) -> None:
    """An alarm is raised, or over."""
    if crossing.is_over:
        db.execute("DELETE FROM alarms WHERE host = ? AND what = ?", (host, crossing.what))
        return
    row = (host, crossing.what, now, crossing.value, crossing.limit, correlation)
    db.execute("INSERT INTO alarms VALUES (?, ?, ?, ?, ?, ?)", row)


def silent(db: sqlite3.Connection, what: str, before: float) -> list[tuple[str, float]]:
    """Hosts that were last heard before then, and when; without those that it is told of."""
    query = (
        "SELECT host, heard FROM hosts WHERE heard < ?"
        " AND host NOT IN (SELECT host FROM alarms WHERE what = ?)"
    )
    return db.execute(query, (before, what)).fetchall()


def forget(db: sqlite3.Connection, before: float) -> None:
    """Forget what is older: samples, hosts that have none, late tasks that were told of."""
    db.execute("DELETE FROM samples WHERE time < ?", (before,))
    db.execute(
        "DELETE FROM hosts WHERE time < ? AND (heard IS NULL OR heard < ?)", (before, before)
    )
    db.execute("DELETE FROM alarms WHERE host NOT IN (SELECT host FROM hosts)")
    db.execute("DELETE FROM running WHERE started < ? AND told = 1", (before,))


def hosts(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """The newest sample of each host."""
    rows = db.execute("SELECT host, time, heard, body FROM hosts ORDER BY host")
    return [
        {"host": host, "time": time, "heard": heard, "values": orjson.loads(body)}
        for host, time, heard, body in rows
    ]


def samples(
    db: sqlite3.Connection, host: str, since: float, until: float, limit: int
) -> list[Mapping[str, Any]] | None:
    """The newest samples of a host in that time, oldest first; None where there is no such
    host."""
    if db.execute("SELECT 1 FROM hosts WHERE host = ?", (host,)).fetchone() is None:
        return None
    rows = db.execute(
        "SELECT time, body FROM samples WHERE host = ? AND time >= ? AND time <= ?"
        " ORDER BY time DESC LIMIT ?",
        (host, since, until, limit),
    ).fetchall()
    return [{"time": time, "values": orjson.loads(body)} for time, body in reversed(rows)]


def alarms(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """The alarms that are raised."""
    rows = db.execute("SELECT host, what, since, value, most FROM alarms ORDER BY host, what")
    names = ("host", "alarm", "since", "value", "limit")
    return [dict(zip(names, row, strict=True)) for row in rows]
