-- Included: how messages get out.

-- Frees a unique key if it is still this message's.
local function free_key(key, id)
  local holder = base .. ':u:' .. key
  if call('GET', holder) == id then call('DEL', holder) end
end

-- The value of a field of an entry, '' where it has none.
local function field(entry, name)
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
  return ''
end

-- Removes an entry that is not leased.
local function drop_entry(s, entry)
  local id, key = field(entry, 'i'), field(entry, 'k')
  call('XACK', s, GROUP, entry[1])
  call('XDEL', s, entry[1])
  forget(id)
  call('SREM', base .. ':k', id)
  if key ~= '' then free_key(key, id) end
end

-- Sets the agenda to the first delayed message of a queue.
local function reschedule(queue)
  local head = call('ZRANGE', base .. ':d:' .. queue, 0, 0, 'WITHSCORES')
  if head[2] then call('ZADD', base .. ':t', head[2], 'd' .. queue)
  else call('ZREM', base .. ':t', 'd' .. queue) end
end

-- Removes a delayed message.
local function drop_delayed(queue, id)
  local packed = call('HGET', base .. ':e:' .. queue, id)
  call('ZREM', base .. ':d:' .. queue, id)
  call('HDEL', base .. ':e:' .. queue, id)
  forget(id)
  call('SREM', base .. ':k', id)
  local key = packed and cmsgpack.unpack(packed)[3] or ''
  if key ~= '' then free_key(key, id) end
end

-- Lets an emptied queue be forgotten. Its streams stay for an hour, for a stream that is made
-- anew might give an entry the id that another one had in the same millisecond.
local function tidy(queue)
  local busy = false
  for p = 0, 2 do
    local s = stream(p, queue)
    if call('XLEN', s) > 0 then busy = true
    elseif call('PEXPIRE', s, HOUR) == 1 then call('ZREM', base .. ':t', 's' .. p .. queue) end
  end
  if not busy and call('EXISTS', base .. ':d:' .. queue, base .. ':x:' .. queue) == 0 then
    call('SREM', base .. ':q', queue)
  end
end
