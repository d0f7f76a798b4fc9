-- Dead letters.

-- name: put
-- Keep a dead letter.
INSERT OR REPLACE INTO chicory_letter
(seq, ns, queue, id, task_id, reason, error, retries, failed_at, priority, error_type, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: page
-- Letters of all queues above a number, oldest first. The plus sign keeps SQLite from sorting all
-- that there are for each page.
SELECT l.seq, l.id, q.name, l.task_id, l.body, l.reason, l.error, l.retries, l.failed_at,
    l.priority, l.error_type
FROM chicory_letter AS l JOIN chicory_queue AS q ON q.id = l.queue
WHERE +l.ns = ? AND l.seq > ? ORDER BY l.seq LIMIT ?;

-- name: queue_page
-- Letters of one queue above a number, oldest first.
SELECT l.seq, l.id, q.name, l.task_id, l.body, l.reason, l.error, l.retries, l.failed_at,
    l.priority, l.error_type
FROM chicory_letter AS l JOIN chicory_queue AS q ON q.id = l.queue
WHERE l.queue = ? AND l.seq > ? ORDER BY l.seq LIMIT ?;

-- name: find
-- One letter.
SELECT l.seq, l.id, q.name, l.task_id, l.body, l.reason, l.error, l.retries, l.failed_at,
    l.priority, l.error_type
FROM chicory_letter AS l JOIN chicory_queue AS q ON q.id = l.queue
WHERE l.ns = ? AND l.id = ?;

-- name: position
-- Where a letter stands.
SELECT seq FROM chicory_letter WHERE ns = ? AND id = ?;

-- name: discard
-- Delete one letter.
DELETE FROM chicory_letter WHERE ns = ? AND id = ?;

-- name: purge
-- Delete the oldest letters of a queue.
DELETE FROM chicory_letter WHERE seq IN (
    SELECT seq FROM chicory_letter WHERE queue = ? AND seq <= ? ORDER BY seq LIMIT ?
);
