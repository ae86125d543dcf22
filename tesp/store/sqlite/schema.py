"""The tables, and connections to a file that has them.

What changes often is small: texts, tags, leases and live tails have tables of their own, so
that a change of state or a renewal rewrites some hundred bytes. A task's id is the key of
each of its rows, and as ids sort by time, every index that ends with the id is in order.
"""

import sqlite3
from pathlib import Path

from tesp.errors import StoreError

SCHEMA = 4
_APPLICATION = 0x74657370  # "tesp": tells our files from other people's

_TABLES = """
CREATE TABLE tasks (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    name TEXT,
    needs TEXT,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    events INTEGER NOT NULL,
    due REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tasks_by_owner ON tasks (owner, id);
CREATE INDEX tasks_by_state ON tasks (state, id);
CREATE INDEX tasks_by_owner_state ON tasks (owner, state, id);
CREATE INDEX tasks_by_name ON tasks (name, id) WHERE name IS NOT NULL;
CREATE INDEX tasks_queued ON tasks (owner, due, id) WHERE state = 'QUEUED';

CREATE TABLE bodies (
    task TEXT NOT NULL UNIQUE,
    full TEXT NOT NULL,
    basic TEXT,
    warnings TEXT
) STRICT;

CREATE TABLE logs (
    task TEXT NOT NULL UNIQUE,
    full TEXT NOT NULL,
    basic TEXT
) STRICT;

CREATE TABLE tails (task TEXT NOT NULL UNIQUE, streams TEXT NOT NULL) STRICT;

CREATE TABLE tags (
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    task TEXT NOT NULL,
    PRIMARY KEY (key, value, task)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tags_by_key ON tags (key, task, value);

CREATE TABLE attempts (
    task TEXT PRIMARY KEY,
    backend TEXT NOT NULL,
    phase TEXT NOT NULL,
    handle TEXT,
    place TEXT,
    outcome TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    task TEXT PRIMARY KEY,
    backend TEXT NOT NULL,
    holder TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    expires REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_expiry ON leases (backend, expires);

CREATE TABLE holds (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    task TEXT NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX keys_by_time ON keys (time);

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    time REAL NOT NULL,
    owner TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    name TEXT,
    reason TEXT,
    UNIQUE (task, number)
) STRICT;

-- With one writer, the order of writing is the order of the log: what lies at or before the
-- position is the log, what lies after it the outbox.
CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL) STRICT;
INSERT INTO log VALUES (1, 0);
"""

# What each schema has that the one before it lacks, by its number.
_ADDED = {
    2: """
CREATE INDEX tags_by_task ON tags (task);

CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

-- What was said of the transfers of an attempt that goes on.
CREATE TABLE remarks (
    task TEXT NOT NULL,
    place INTEGER NOT NULL,
    sentence TEXT NOT NULL,
    PRIMARY KEY (task, place),
    UNIQUE (task, sentence)
) STRICT, WITHOUT ROWID;
""",
    # Without a correlation it is the task's id.
    3: """
ALTER TABLE tasks ADD COLUMN correlation TEXT;
ALTER TABLE tasks ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN callback TEXT;
ALTER TABLE events ADD COLUMN correlation TEXT;
ALTER TABLE events ADD COLUMN hops INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN callback TEXT;

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    touched REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX cursors_by_sequence ON cursors (sequence);
CREATE INDEX cursors_by_touch ON cursors (touched);
""",
    # A cursor is touched more often than it moves.
    4: """
ALTER TABLE cursors ADD COLUMN moved REAL;

CREATE TABLE readings (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    time REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX readings_by_time ON readings (time);
""",
}


def open_writer(file: Path) -> sqlite3.Connection:
    """The one connection that writes. Makes the tables that the file lacks."""
    connection = _connect(file, "rwc")
    try:
        # FULL: an acknowledged write survives the loss of power.
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;"
            "PRAGMA cache_size = -32768"
        )
        _prepare(connection, file)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"{file} cannot be used as a database: {error}") from error
    except StoreError:
        connection.close()
        raise
    return connection


def open_reader(file: Path) -> sqlite3.Connection:
    """A connection that can only read; only for a file that a writer has open."""
    connection = _connect(file, "ro")
    connection.execute("PRAGMA cache_size = -8192")
    return connection


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    # Each connection belongs to one thread; only closing may come from another.
    try:
        return sqlite3.connect(
            f"{file.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=10.0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise StoreError(f"{file} cannot be opened: {error}") from error


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version == 0 and tables == 0:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} {_since(1)} PRAGMA application_id = {_APPLICATION};"
            f"PRAGMA user_version = {SCHEMA}; COMMIT"
        )
    elif application != _APPLICATION:
        raise StoreError(f"{file} is a database of another program: choose another data_dir")
    elif version > SCHEMA:
        raise StoreError(
            f"{file} was written by a newer tesp (schema {version}, this one knows {SCHEMA}):"
            " install that version, or choose another data_dir"
        )
    elif version < SCHEMA:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_since(version)} PRAGMA user_version = {SCHEMA}; COMMIT"
        )


def _since(version: int) -> str:
    """What was added after that schema, in order."""
    return "".join(text for number, text in sorted(_ADDED.items()) if number > version)
