-- Included: what time alone brings about, done by whoever comes by: delayed messages become
-- ready, and leases that ended go to the pool.

local BUDGET, STEP = 1000, 250

local function promote(queue, at)
  local d, e = base .. ':d:' .. queue, base .. ':e:' .. queue
  local due = call('ZRANGEBYSCORE', d, '-inf', at, 'LIMIT', 0, STEP)
  if #due > 0 then
    local packed = call('HMGET', e, unpack(due))
    for i, id in ipairs(due) do
      if packed[i] then
        local p, deliveries, key, body = unpack(cmsgpack.unpack(packed[i]))
        keep(id, put(queue, id, p, 0, deliveries, key, body, at))
      end
    end
    call('ZREM', d, unpack(due)) -- not before: where one cannot be put in none is lost
    call('HDEL', e, unpack(due))
  end
  reschedule(queue)
  return #due
end

-- Consumers of workers that ended long ago.
local function forget_consumers(s)
  local consumers = ask_group('XINFO', 'CONSUMERS', s, GROUP)
  for _, each in ipairs(consumers or {}) do
    local facts = {}
    for i = 1, #each, 2 do facts[each[i]] = each[i + 1] end
    if facts.pending == 0 and facts.idle > HOUR then
      call('XGROUP', 'DELCONSUMER', s, GROUP, facts.name)
    end
  end
end

-- Looks through a page of a pending list. The list is in order of entries, not of time: where it
-- is longer than a page the look goes on from there next time, and begins anew within a second.
local function rescue(p, queue, at)
  local s, member = stream(p, queue), 's' .. p .. queue
  local from, soonest = '-', nil
  local place = call('HGET', base .. ':h', member)
  if place then from, soonest = place, at + 1000 end
  local page = ask_group('XPENDING', s, GROUP, from, '+', STEP) or {}
  for _, r in ipairs(page) do
    if r[2] ~= POOL then
      local ends = at - r[3] + lease_of(r[2]) + 1 -- both are cut to whole ms
      if ends <= at then
        call('XCLAIM', s, GROUP, POOL, 0, r[1], 'JUSTID')
        note_ready(queue, 1)
      elseif not soonest or ends < soonest then soonest = ends end
    end
  end
  if #page == STEP then
    call('HSET', base .. ':h', member, '(' .. page[STEP][1])
    return STEP
  end
  if place then call('HDEL', base .. ':h', member) end
  forget_consumers(s)
  if soonest then call('ZADD', base .. ':t', soonest, member)
  else call('ZREM', base .. ':t', member) end
  return #page
end

-- Does what is due; answers ms until the next entry of the agenda, -1 where there is none.
local function tick(at)
  local budget = BUDGET
  while budget > 0 do
    local head = call('ZRANGE', base .. ':t', 0, 0, 'WITHSCORES')
    if not head[1] then return -1 end
    if tonumber(head[2]) > at then return head[2] - at end
    local ok, done
    call = call_by_name
    if string.sub(head[1], 1, 1) == 'd' then ok, done = pcall(promote, string.sub(head[1], 2), at)
    else ok, done = pcall(rescue, string.sub(head[1], 2, 2), string.sub(head[1], 3), at) end
    call = redis.call
    if not ok and denied(head[1], done) then error(done, 0) end
    -- a key of another type stops its own queue only
    if not ok then call('ZADD', base .. ':t', at + 1000, head[1]) done = 0 end
    budget = budget - done - 1
  end
  return 0
end
