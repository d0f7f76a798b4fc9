-- What a connection has to itself, made each time that one is opened for writing.

-- name: parcel
-- Where messages are put that differ in no more than id and body, as one row; see packing.py.
CREATE TEMP VIEW chicory_parcel (number, ids, bodies, spans, ns, queue, state, priority, due)
AS SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL;

-- name: unpack
-- Give them their numbers, and store them: all in the one statement that puts such a row, or none
-- where an id is taken.
CREATE TEMP TRIGGER chicory_unpack INSTEAD OF INSERT ON chicory_parcel
BEGIN
    UPDATE chicory_meta SET value = value + NEW.number WHERE key = 'seq';
    INSERT INTO chicory_message (seq, ns, queue, state, priority, due, task_id, body)
    SELECT (SELECT value + 1 - NEW.number FROM chicory_meta WHERE key = 'seq') + key,
        NEW.ns, NEW.queue, NEW.state, NEW.priority, NEW.due,
        CAST(substr(NEW.ids, 1 + key * 32, 32) AS TEXT),
        substr(NEW.bodies, 1 + (value >> 32), value & 0xFFFFFFFF)
    FROM json_each(NEW.spans);
END;
