-- Everything that SqliteMeta keeps. Times are milliseconds since 1970, ids are the sixteen bytes of a UUID.
--
-- Tables that grow with uploads have as few trees as their questions allow, because each costs about a microsecond per upload:
-- the ledger and the objects are kept in the order of their ids (UUIDv7: they append), events in the order they were written.
-- They have no foreign keys: a batch is one transaction, and `headworks audit` looks for what should not be.

-- Who owns objects, and what it adds up to.
CREATE TABLE scopes (
    id      INTEGER NOT NULL PRIMARY KEY,
    org     TEXT NOT NULL,
    project TEXT NOT NULL,
    objects INTEGER NOT NULL DEFAULT 0 CHECK (objects >= 0),
    bytes   INTEGER NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    UNIQUE (org, project)
) STRICT;

-- What became of every upload. A row is written once, and changes only from stored to deleted. (A state is compared three times,
-- because for a list of three SQLite would make a table at each row.)
CREATE TABLE ledger (
    id     BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    scope  INTEGER NOT NULL,
    state  TEXT NOT NULL CHECK (state = 'stored' OR state = 'failed' OR state = 'deleted'),
    purged INTEGER NOT NULL DEFAULT 0 CHECK (purged IN (0, 1)),
    size   INTEGER NOT NULL CHECK (size >= 0),
    at     INTEGER NOT NULL,
    reason TEXT
) STRICT, WITHOUT ROWID;

-- Failed and deleted uploads: whose bytes must go, and which can be forgotten. Costs a stored one nothing.
CREATE INDEX ledger_ended ON ledger (purged, at) WHERE state <> 'stored';

-- The objects that are there. The newest version of a path is the first of it in objects_by_path.
CREATE TABLE objects (
    id           BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    scope        INTEGER NOT NULL,
    path         TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version >= 1),
    size         INTEGER NOT NULL CHECK (size >= 0),
    stored_at    INTEGER NOT NULL,
    crc64nvme    INTEGER NOT NULL,
    sha256       BLOB CHECK (length(sha256) = 32),
    content_type TEXT NOT NULL,
    sniffed_type TEXT
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX objects_by_path ON objects (scope, path, version DESC);

-- The versions that were deleted, so that their numbers are not given again; forgotten together with their ledger rows.
CREATE TABLE tombstones (
    scope     INTEGER NOT NULL,
    path      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    id        BLOB NOT NULL,
    stored_at INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (scope, path, version)
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_by_time ON tombstones (at);

-- What happened, as receivers are told it. seq counts without gaps above progress.relayed, so what is new is a range and no
-- row has to be marked. An event is appended with the change of the ledger that it tells of, which happens once: no index keeps it
-- from being told twice, and none would be used.
CREATE TABLE events (
    seq     INTEGER NOT NULL PRIMARY KEY,
    upload  BLOB NOT NULL,
    type    TEXT NOT NULL,
    id      BLOB NOT NULL CHECK (length(id) = 16),
    time    INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT;

-- One row: the last event that was relayed, the moment before which things may have been forgotten, when the last complete deep sweep
-- began, and which content of the queue it saw.
CREATE TABLE progress (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    relayed    INTEGER NOT NULL,
    pruned     INTEGER NOT NULL,
    swept      INTEGER,
    queue_seen TEXT
) STRICT;

INSERT INTO progress VALUES (1, 0, 0, NULL, NULL);

CREATE TABLE receivers (
    id          INTEGER NOT NULL PRIMARY KEY,
    url         TEXT NOT NULL UNIQUE,
    disabled_at INTEGER,
    pending     INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Events on their way; a row goes when its delivery has ended.
CREATE TABLE deliveries (
    event    BLOB NOT NULL,
    receiver INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    tries    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (event, receiver)
) STRICT, WITHOUT ROWID;

CREATE INDEX deliveries_due ON deliveries (receiver, due, seq);
CREATE INDEX deliveries_by_event ON deliveries (seq);

-- Every try, in the order in which they were written down. next_at is set for a retry.
CREATE TABLE delivery_log (
    id       INTEGER NOT NULL PRIMARY KEY,
    event    BLOB NOT NULL,
    receiver INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    status   INTEGER,
    error    TEXT,
    took_ms  INTEGER NOT NULL,
    next     TEXT NOT NULL CHECK (next IN ('delivered', 'retry', 'given_up')),
    next_at  INTEGER
) STRICT;

-- Jobs that wait for a person.
CREATE TABLE dead_letters (
    id    BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    job   TEXT NOT NULL,
    error TEXT NOT NULL,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_letters_by_time ON dead_letters (at);
