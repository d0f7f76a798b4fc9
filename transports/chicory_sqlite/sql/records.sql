-- Records: the latest thing known of a call.

-- name: put
-- Store records, each in place of the one before.
INSERT OR REPLACE INTO chicory_record (seq, ns, expires, task_id, body) VALUES (?, ?, ?, ?, ?);

-- name: remove
-- Forget the record of a call.
DELETE FROM chicory_record WHERE ns = ? AND task_id = ?;

-- name: get
-- The record of a call, unless its time is over.
SELECT seq, body FROM chicory_record WHERE ns = ? AND task_id = ? AND expires > ?;

-- name: news
-- The next calls recorded after a number was given out and up to another one, as [seq, task_id].
-- The plus signs keep SQLite from choosing another index and sorting.
SELECT json_group_array(json_array(seq, task_id)) FROM (
    SELECT seq, task_id FROM chicory_record
    WHERE seq > :after AND seq <= :last AND +ns = :ns AND +expires > :now ORDER BY seq LIMIT :limit
);

-- name: bodies
-- Records as [seq, task_id, body]; body in hexadecimal, null where it is longer than :inline.
SELECT json_group_array(json_array(
    seq, task_id, CASE WHEN length(body) <= :inline THEN hex(body) END
))
FROM chicory_record WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: body
-- The body of one record.
SELECT body FROM chicory_record WHERE seq = ?;

-- name: prune
-- Delete records whose time is over.
DELETE FROM chicory_record WHERE seq IN (
    SELECT seq FROM chicory_record WHERE ns = ? AND expires <= ? ORDER BY expires LIMIT ?
);

-- name: prune_locks
-- Delete locks whose time is over.
DELETE FROM chicory_lock WHERE (ns, key) IN (
    SELECT ns, key FROM chicory_lock WHERE ns = ? AND expires <= ? ORDER BY expires LIMIT ?
);
