-- Numbers: of the schema, of namespaces and queues, of rows.

-- name: has_meta
-- 1 where chicory has tables in this database.
SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'chicory_meta';

-- name: version
-- The schema's version.
SELECT value FROM chicory_meta WHERE key = 'schema';

-- name: set_version
-- Note the schema's version; the numbers given out go on.
INSERT INTO chicory_meta (key, value) VALUES ('schema', ?), ('seq', 0)
ON CONFLICT DO UPDATE SET value = excluded.value WHERE key = 'schema';

-- name: letters_of_schema_1
-- Give letters the column that they have since schema 2; where it is empty it is not known.
ALTER TABLE chicory_letter ADD COLUMN error_type TEXT NOT NULL DEFAULT '';

-- name: timer_of_schema_2
-- Drop the index that leased and delayed messages shared.
DROP INDEX IF EXISTS chicory_message_timer;

-- name: add_namespace
-- Give a namespace its number, once.
INSERT INTO chicory_namespace (name) VALUES (?) ON CONFLICT DO NOTHING;

-- name: namespace
-- The number of a namespace.
SELECT id FROM chicory_namespace WHERE name = ?;

-- name: allocate
-- Take that many numbers; answers the last one.
UPDATE chicory_meta SET value = value + ? WHERE key = 'seq' RETURNING value;

-- name: last_seq
-- The last number given out by a transaction that is committed.
SELECT value FROM chicory_meta WHERE key = 'seq';

-- name: add_queue
-- Give a queue its number, once.
INSERT INTO chicory_queue (ns, name) VALUES (?, ?) ON CONFLICT DO NOTHING;

-- name: queue
-- The number of a queue.
SELECT id FROM chicory_queue WHERE ns = ? AND name = ?;
