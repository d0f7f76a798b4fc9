-- Included: how messages get in. A message's place in the index is "d<queue>" where it is delayed,
-- "<priority><entry id> <queue>" where it is in a stream.

local became_ready, streams_used = {}, {}

local function note_ready(queue, n)
  became_ready[queue] = (became_ready[queue] or 0) + n
end

-- Puts a message where it belongs at time `at`; answers its place, which the caller stores.
local function put(queue, id, p, due, deliveries, key, body, at)
  if due > at then
    call('ZADD', base .. ':d:' .. queue, due, id)
    call('HSET', base .. ':e:' .. queue, id, cmsgpack.pack({p, deliveries, key, body}))
    -- the first one due: a waiting fetch must know, to be there in time
    if call('ZADD', base .. ':t', 'LT', 'CH', due, 'd' .. queue) == 1 then note_ready(queue, 1)
    else note_ready(queue, 0) end
    return 'd' .. queue
  end
  local s, entry = stream(p, queue), nil
  if key == '' and deliveries == 0 then entry = call('XADD', s, '*', 'i', id, 'd', body)
  elseif deliveries == 0 then entry = call('XADD', s, '*', 'i', id, 'd', body, 'k', key)
  else entry = call('XADD', s, '*', 'i', id, 'd', body, 'k', key, 'n', deliveries) end
  streams_used[s] = true
  note_ready(queue, 1)
  return p .. entry .. ' ' .. queue
end

-- Whether an index entry is true; it is not where somebody deleted keys by hand.
local function is_live(id, place)
  if string.sub(place, 1, 1) == 'd' then
    return call('HEXISTS', base .. ':e:' .. string.sub(place, 2), id) == 1
  end
  local p, entry, queue = string.match(place, '^(%d)(%S+) (.*)$')
  return #call('XRANGE', stream(p, queue), entry, entry) == 1
end

-- Takes a unique key; answers the id of another live holder, or nil.
local function take_key(key, ttl, id)
  local holder = base .. ':u:' .. key
  if call('SET', holder, id, 'PX', ttl, 'NX') then return nil end
  return call('GET', holder)
end

-- Publishes one message unless its id or key is taken; answers '' or the id in the way.
local function publish(queue, id, p, due, key, ttl, body, at)
  local place = find(id)
  if place and is_live(id, place) then return id end
  if key ~= '' then
    local holder = take_key(key, ttl, id)
    if holder then return holder end
  end
  keep(id, put(queue, id, p, due, 0, key, body, at))
  return ''
end

-- To be called last: makes known what was put in.
local function announce()
  for s in pairs(streams_used) do call('PERSIST', s) end
  for queue, n in pairs(became_ready) do
    call('SADD', base .. ':q', queue)
    wake(queue, n)
  end
end
