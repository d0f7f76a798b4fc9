-- The life of a message: published, claimed, renewed, settled. Arrays of numbers come as JSON;
-- what a batch answers is one JSON value in one row: each row costs a handover of Python's GIL.

-- name: insert
-- Store messages whose ids are free; the others are skipped.
INSERT INTO chicory_message (seq, ns, queue, state, priority, due, task_id, unique_key, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (ns, task_id) DO NOTHING;

-- name: insert_alike
-- The same for messages that differ in no more than these; the rest follows once for all.
WITH given (seq, task_id, body) AS (
    VALUES (?, ?, ?)
)
INSERT INTO chicory_message (seq, ns, queue, state, priority, due, task_id, body)
SELECT seq, ?, ?, ?, ?, ?, task_id, body FROM given WHERE true
ON CONFLICT (ns, task_id) DO NOTHING;

-- name: insert_packed
-- The same for ids of 32 bytes and bodies that come as one value each, see packing.py: SQLite takes
-- less time for these functions than for a parameter.
WITH given (seq, task_id, body) AS (
    SELECT ? + key, CAST(substr(?, 1 + key * 32, 32) AS TEXT),
        substr(?, 1 + (value >> 32), value & 0xFFFFFFFF)
    FROM json_each(?)
)
INSERT INTO chicory_message (seq, ns, queue, state, priority, due, task_id, body)
SELECT seq, ?, ?, ?, ?, ?, task_id, body FROM given WHERE true
ON CONFLICT (ns, task_id) DO NOTHING;

-- name: put
-- The same, numbers and all, but none of them where one is not free; see temporary.sql.
INSERT INTO chicory_parcel VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: inserted
-- Which numbers of a range were stored.
SELECT json_group_array(seq) FROM chicory_message WHERE seq BETWEEN ? AND ?;

-- name: holder
-- Who holds a unique key now.
SELECT task_id FROM chicory_lock WHERE ns = ? AND key = ? AND expires > ?;

-- name: is_live
-- 1 where a message has this id.
SELECT count(*) FROM chicory_message WHERE ns = ? AND task_id = ?;

-- name: lock
-- Give a unique key to a message; its last holder's time is over.
INSERT OR REPLACE INTO chicory_lock (ns, key, task_id, expires) VALUES (?, ?, ?, ?);

-- name: unlock
-- Release unique keys, each where its message still holds it. No JSON: a key may hold any character.
WITH given (key, task_id) AS (
    VALUES (?, ?)
)
DELETE FROM chicory_lock WHERE ns = ? AND (key, task_id) IN (SELECT key, task_id FROM given);

-- name: glance
-- Which of these queues can be served at once, and when the next message becomes ready by itself.
SELECT
    (
        SELECT json_group_array(q.id)
        FROM chicory_queue AS q
        WHERE q.id IN (SELECT value FROM json_each(:queues)) AND q.paused = 0
            AND EXISTS (SELECT 1 FROM chicory_message AS m WHERE m.state = 0 AND m.queue = q.id)
    ),
    (
        SELECT min(due) FROM (
            SELECT min(t.due) AS due FROM chicory_message AS t WHERE t.state = 1 AND t.ns = :ns
            UNION ALL
            SELECT min(t.due) FROM chicory_message AS t WHERE t.state = 2 AND t.ns = :ns
        )
    );

-- name: promote
-- Make ready what is due, of the delayed and of the leased those that fell due first.
UPDATE chicory_message SET state = 0, due = 0
WHERE seq IN (
    SELECT seq FROM (
        SELECT seq FROM chicory_message
        WHERE state = 1 AND ns = :ns AND due <= :now ORDER BY due LIMIT :limit
    )
    UNION ALL
    SELECT seq FROM (
        SELECT seq FROM chicory_message
        WHERE state = 2 AND ns = :ns AND due <= :now ORDER BY due LIMIT :limit
    )
);

-- name: ready
-- The next messages of a queue as [seq, priority, deliveries, fence, task_id, unique_key, cancel,
-- body], as they will be once claimed; body in hexadecimal, null where it is longer than :inline.
SELECT json_group_array(json_array(
    seq, priority, deliveries + 1, fence + 1, task_id, unique_key, cancel,
    CASE WHEN length(body) <= :inline THEN hex(body) END
))
FROM (
    SELECT seq, priority, deliveries, fence, task_id, unique_key, cancel, body
    FROM chicory_message
    WHERE state = 0 AND queue = :queue ORDER BY priority DESC, seq LIMIT :limit
);

-- name: body
-- The body of one message.
SELECT body FROM chicory_message WHERE seq = ?;

-- name: claim
-- Lease messages until :due.
UPDATE chicory_message SET state = 2, due = :due, deliveries = deliveries + 1, fence = fence + 1
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: fences
-- What receipts are checked against, as [seq, fence, cancel].
SELECT json_group_array(json_array(seq, fence, cancel)) FROM chicory_message
WHERE seq IN (SELECT value FROM json_each(?));

-- name: renew
-- Lease messages until :due, those too whose lease ran out.
UPDATE chicory_message SET state = 2, due = :due
WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: delete
-- Remove messages.
DELETE FROM chicory_message WHERE seq IN (SELECT value FROM json_each(?));

-- name: release
-- Give messages back; their receipts are void, nothing counted.
UPDATE chicory_message
SET state = 0, due = 0, deliveries = deliveries - 1, fence = fence + 1
WHERE seq IN (SELECT value FROM json_each(?));

-- name: release_until
-- The same, each one until its time: an object of times by seq.
UPDATE chicory_message
SET
    state = 1, due = json_extract(:dues, '$."' || seq || '"'),
    deliveries = deliveries - 1, fence = fence + 1
WHERE seq IN (SELECT CAST(key AS INTEGER) FROM json_each(:dues));

-- name: request_cancel
-- Keep the wish to cancel for the workers that hold the messages.
UPDATE chicory_message SET cancel = 1 WHERE seq IN (SELECT value FROM json_each(?));

-- name: find
-- The live message of a call.
SELECT seq, state, due, unique_key FROM chicory_message WHERE ns = ? AND task_id = ?;

-- name: leased
-- 1 where a message of the call is leased now.
SELECT state = 2 AND due > ? FROM chicory_message WHERE ns = ? AND task_id = ?;

-- name: purge_ready
-- The next messages of a queue that nobody holds.
SELECT seq, task_id, unique_key FROM chicory_message
WHERE state = 0 AND queue = ? AND seq <= ? LIMIT ?;

-- name: purge_timer
-- The next delayed or orphaned messages of a queue. Of all that are there others may be millions.
SELECT seq, task_id, unique_key FROM (
    SELECT seq, task_id, unique_key FROM chicory_message INDEXED BY chicory_message_delayed
    WHERE state = 1 AND ns = :ns AND queue = :queue AND seq <= :last
    UNION ALL
    SELECT seq, task_id, unique_key FROM chicory_message INDEXED BY chicory_message_leased
    WHERE state = 2 AND ns = :ns AND queue = :queue AND seq <= :last AND due <= :now
) LIMIT :limit;
