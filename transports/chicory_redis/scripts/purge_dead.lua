-- Deletes up to a number of dead letters of a queue.
-- include: span keys index leave letters
-- KEYS  base
-- ARGV  queue, limit
-- Answers how many were deleted.

insist()
local ids = call('ZRANGE', base .. ':x:' .. ARGV[1], 0, ARGV[2] - 1)
for _, id in ipairs(ids) do
  call('HDEL', base .. ':y', id)
  call('ZREM', base .. ':x', id)
  call('ZREM', base .. ':x:' .. ARGV[1], id)
end
tidy(ARGV[1])
return #ids
