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

INSERT INTO tasks VALUES ('old', 'ann', 'QUEUED', NULL, NULL, 1, 0, 1, 1700000000.0);
INSERT INTO bodies VALUES ('old', '"executors":[]', NULL, NULL);
INSERT INTO tags VALUES ('site', 'north', 'old');
INSERT INTO events VALUES (1, 'old', 1, 'QUEUED', 1700000000.0, 'ann', 1, NULL, NULL);
PRAGMA application_id = 0x74657370;
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

PRAGMA user_version = 3;
