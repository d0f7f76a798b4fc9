-- Included: dead letters.

local function letter_queue(stored)
  local length, from = string.match(stored, '^(%d+):()')
  return string.sub(stored, from, from + length - 1)
end

local function remove_letter(id, stored)
  call('HDEL', base .. ':y', id)
  call('ZREM', base .. ':x', id)
  call('ZREM', base .. ':x:' .. letter_queue(stored), id)
end

local function add_letter(id, queue, packed, at)
  local stored = call('HGET', base .. ':y', id)
  if stored then remove_letter(id, stored) end
  local last = call('ZREVRANGE', base .. ':x', 0, 0, 'WITHSCORES')[2]
  local serial = math.max(at, (tonumber(last) or 0) + 1)
  call('ZADD', base .. ':x', serial, id)
  call('ZADD', base .. ':x:' .. queue, serial, id)
  call('HSET', base .. ':y', id, #queue .. ':' .. queue .. packed)
  call('SADD', base .. ':q', queue)
end
