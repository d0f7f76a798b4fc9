-- Queues as wholes.

-- name: pause
-- Stop (1) or resume (0) the delivery of a queue.
UPDATE chicory_queue SET paused = ? WHERE id = ?;

-- name: names
-- The queues of a namespace.
SELECT id, name, paused FROM chicory_queue WHERE ns = ?;

-- name: ready
-- How many messages of a queue are ready.
SELECT count(*) FROM chicory_message WHERE state = 0 AND queue = ?;

-- name: dead
-- How many dead letters a queue has.
SELECT count(*) FROM chicory_letter WHERE queue = ?;

-- name: timed
-- Per queue: ready by now, delayed, leased.
SELECT
    queue,
    sum(due <= :now),
    sum(state = 1 AND due > :now),
    sum(state = 2 AND due > :now)
FROM (
    SELECT queue, state, due FROM chicory_message WHERE state = 1 AND ns = :ns
    UNION ALL
    SELECT queue, state, due FROM chicory_message WHERE state = 2 AND ns = :ns
) GROUP BY queue;
