-- Heartbeats.

-- name: put
-- Store a heartbeat in place of the one before.
INSERT OR REPLACE INTO chicory_worker (ns, worker_id, queues, body, beat_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?);

-- name: remove
-- Forget a worker.
DELETE FROM chicory_worker WHERE ns = ? AND worker_id = ?;

-- name: all
-- Every worker, by id.
SELECT worker_id, queues, body, beat_at, expires_at FROM chicory_worker
WHERE ns = ? ORDER BY worker_id;

-- name: prune
-- Forget workers that died before a time.
DELETE FROM chicory_worker WHERE ns = ? AND expires_at <= ?;
