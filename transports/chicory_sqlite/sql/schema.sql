-- The tables of schema 3. Created in one transaction, idempotently; other tables are left alone.
-- Every point in time is seconds since the epoch, given by the transport's clock.

-- name: meta
-- The schema's version (key 'schema') and the last number given out (key 'seq').
CREATE TABLE IF NOT EXISTS chicory_meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

-- name: namespace
-- A small number for each namespace; rows stay for ever.
CREATE TABLE IF NOT EXISTS chicory_namespace (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- name: queue
-- A small number for each queue of each namespace; rows stay for ever, so a number may be cached.
CREATE TABLE IF NOT EXISTS chicory_queue (
    id INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    name TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0,
    UNIQUE (ns, name)
);

-- name: message
-- One live message. state: 0 ready, 1 delayed until due, 2 leased until due.
-- fence grows with every claim and release: a receipt is (seq, fence). seq is never used twice.
CREATE TABLE IF NOT EXISTS chicory_message (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    due REAL NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    task_id TEXT NOT NULL,
    unique_key TEXT,
    body BLOB NOT NULL
);

-- name: message_id
-- At most one live message has a task id.
CREATE UNIQUE INDEX IF NOT EXISTS chicory_message_id ON chicory_message (ns, task_id);

-- name: message_ready
-- The order of delivery; the rowid, seq, is the last column of every index. state is
-- in it although it is always 0: else counting would have to look into every row.
CREATE INDEX IF NOT EXISTS chicory_message_ready ON chicory_message (queue, state, priority DESC)
WHERE state = 0;

-- name: message_delayed
-- What becomes ready by itself, soonest first; covers the counting of it.
CREATE INDEX IF NOT EXISTS chicory_message_delayed ON chicory_message (ns, due, state, queue)
WHERE state = 1;

-- name: message_leased
-- The same of leases. Each task comes here and goes: among millions that are delayed, in front of
-- whom it would stand, that moved others about.
CREATE INDEX IF NOT EXISTS chicory_message_leased ON chicory_message (ns, due, state, queue)
WHERE state = 2;

-- name: lock
-- The holder of a unique key.
CREATE TABLE IF NOT EXISTS chicory_lock (
    ns INTEGER NOT NULL,
    key TEXT NOT NULL,
    task_id TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (ns, key)
) WITHOUT ROWID;

-- name: lock_expiry
-- Forgotten locks, oldest first.
CREATE INDEX IF NOT EXISTS chicory_lock_expiry ON chicory_lock (ns, expires);

-- name: record
-- The latest record of a call. seq grows with every commit: a watcher reads what is above the last.
CREATE TABLE IF NOT EXISTS chicory_record (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    expires REAL NOT NULL,
    task_id TEXT NOT NULL,
    body BLOB NOT NULL
);

-- name: record_id
-- One record per call.
CREATE UNIQUE INDEX IF NOT EXISTS chicory_record_id ON chicory_record (ns, task_id);

-- name: record_expiry
-- Forgotten records, oldest first.
CREATE INDEX IF NOT EXISTS chicory_record_expiry ON chicory_record (ns, expires);

-- name: letter
-- A dead letter.
CREATE TABLE IF NOT EXISTS chicory_letter (
    seq INTEGER PRIMARY KEY,
    ns INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    error TEXT NOT NULL,
    retries INTEGER NOT NULL,
    failed_at REAL NOT NULL,
    priority INTEGER NOT NULL,
    body BLOB NOT NULL,
    error_type TEXT NOT NULL DEFAULT ''
);

-- name: letter_id
-- A dead letter is found by its id.
CREATE UNIQUE INDEX IF NOT EXISTS chicory_letter_id ON chicory_letter (ns, id);

-- name: letter_page
-- The pages of one queue, and its count.
CREATE INDEX IF NOT EXISTS chicory_letter_page ON chicory_letter (queue);

-- name: worker
-- A worker's last heartbeat.
CREATE TABLE IF NOT EXISTS chicory_worker (
    ns INTEGER NOT NULL,
    worker_id TEXT NOT NULL,
    queues TEXT NOT NULL,
    body BLOB NOT NULL,
    beat_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    PRIMARY KEY (ns, worker_id)
) WITHOUT ROWID;
