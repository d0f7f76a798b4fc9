-- The workers that are kept, and the time by which they are.
-- include: keys
-- KEYS  base
-- ARGV  nothing
-- Answers seconds and microseconds; then ids and what is stored of them in turn.

return {call('TIME'), call('HGETALL', base .. ':w')}
