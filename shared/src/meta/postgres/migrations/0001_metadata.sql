-- Everything that PostgresMeta keeps. Times are milliseconds since 1970; text that is searched is ordered by its bytes.
--
-- Tables that grow with uploads have as few trees as their questions allow, because each costs microseconds for each upload. What
-- their trees are ordered by is given out in order (UUIDv7, sequences), so that they grow at one end. They have no foreign keys: a
-- batch is one transaction, and `headworks audit` looks for what should not be.

-- Who owns objects, and what it adds up to. One row may change with every batch: half of each page is left for that.
CREATE TABLE scopes (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org     text COLLATE "C" NOT NULL,
    project text COLLATE "C" NOT NULL,
    objects bigint NOT NULL DEFAULT 0 CHECK (objects >= 0),
    bytes   bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    UNIQUE (org, project)
) WITH (fillfactor = 50);

-- What became of every upload. A row is written once, and changes only from stored to deleted, and from bytes to no bytes.
CREATE TABLE ledger (
    id     uuid NOT NULL CONSTRAINT ledger_pkey PRIMARY KEY,
    scope  bigint NOT NULL,
    at     bigint NOT NULL,
    size   bigint NOT NULL CHECK (size >= 0),
    purged boolean NOT NULL DEFAULT false,
    state  text COLLATE "C" NOT NULL CHECK (state IN ('stored', 'failed', 'deleted')),
    reason text
);

-- Failed and deleted uploads: whose bytes must go, and which can be forgotten. Costs a stored one nothing.
CREATE INDEX ledger_ended ON ledger (purged, at) WHERE state <> 'stored';

-- The objects that are there. The newest version of a path is the first of it in objects_by_path, which also keeps two batches
-- from giving the same number twice.
CREATE TABLE objects (
    id           uuid NOT NULL PRIMARY KEY,
    scope        bigint NOT NULL,
    version      bigint NOT NULL CHECK (version >= 1),
    size         bigint NOT NULL CHECK (size >= 0),
    stored_at    bigint NOT NULL,
    crc64nvme    bigint NOT NULL,
    sha256       bytea CHECK (length(sha256) = 32),
    path         text COLLATE "C" NOT NULL,
    content_type text NOT NULL,
    sniffed_type text
);

CREATE UNIQUE INDEX objects_by_path ON objects (scope, path, version DESC);

-- The versions that were deleted, so that their numbers are not given again; forgotten together with their ledger rows.
CREATE TABLE tombstones (
    scope     bigint NOT NULL,
    path      text COLLATE "C" NOT NULL,
    version   bigint NOT NULL,
    id        uuid NOT NULL,
    stored_at bigint NOT NULL,
    at        bigint NOT NULL,
    PRIMARY KEY (scope, path, version)
);

CREATE INDEX tombstones_by_time ON tombstones (at);

-- What happened, as receivers are told it. seq is the number of its batch times 2^20, plus its place in the batch. An event is appended
-- with the change of the ledger that it tells of, which happens once: no index keeps it from being told twice, and none would be used.
CREATE TABLE events (
    seq     bigint NOT NULL PRIMARY KEY,
    time    bigint NOT NULL,
    upload  uuid NOT NULL,
    id      uuid NOT NULL,
    type    text COLLATE "C" NOT NULL,
    payload text NOT NULL
);

-- Batches of events that have no deliveries yet: one row for a whole transaction, which is there when the transaction is, and
-- which one relay at a time holds. (Numbers are no queue: a lower one may become visible after a higher one.)
-- next is the place of the first event that is not relayed.
CREATE TABLE unrelayed (
    batch  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    next   bigint NOT NULL DEFAULT 0,
    events bigint NOT NULL,
    time   bigint NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- One row: the moment before which things may have been forgotten, when the last complete deep sweep began, and which content of
-- the queue it saw.
CREATE TABLE progress (
    one        boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    pruned     bigint NOT NULL DEFAULT 0,
    swept      bigint,
    queue_seen text
);

INSERT INTO progress DEFAULT VALUES;

CREATE TABLE receivers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url         text COLLATE "C" NOT NULL UNIQUE,
    disabled_at bigint,
    pending     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Events on their way; a row goes when its delivery has ended.
CREATE TABLE deliveries (
    event    uuid NOT NULL,
    receiver bigint NOT NULL,
    seq      bigint NOT NULL,
    due      bigint NOT NULL,
    tries    bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (event, receiver)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

CREATE INDEX deliveries_due ON deliveries (receiver, due, seq);
CREATE INDEX deliveries_by_event ON deliveries (seq);

-- Every try, in the order in which they were written down. next_at is set for a retry.
CREATE TABLE delivery_log (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event    uuid NOT NULL,
    receiver bigint NOT NULL,
    number   bigint NOT NULL,
    at       bigint NOT NULL,
    status   bigint,
    error    text,
    took_ms  bigint NOT NULL,
    next     text NOT NULL CHECK (next IN ('delivered', 'retry', 'given_up')),
    next_at  bigint
);

-- Jobs that wait for a person.
CREATE TABLE dead_letters (
    id    uuid NOT NULL PRIMARY KEY,
    job   text NOT NULL,
    error text NOT NULL,
    at    bigint NOT NULL
);

CREATE INDEX dead_letters_by_time ON dead_letters (at, id);
