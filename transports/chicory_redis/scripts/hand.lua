-- Included: a message that comes alone is leased in the name of the fetch that has waited longest,
-- and sent along with its wake-up, which spares it the round trip.

local LARGEST = 16384 -- bytes: the server keeps for a listener what it has not read yet

local function lease_one(s, consumer)
  local new = pcall_redis('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1, 'STREAMS', s, '>')
  if lacks_group(new) then call('XGROUP', 'CREATE', s, GROUP, '0') end
  if new and new.err then
    new = call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', 1, 'STREAMS', s, '>')
  end
  return new and new[1][2][1]
end

-- "+number priority time entry" and the lengths of what follows; a line feed; queue and fields.
local function describe(number, p, at, entry, queue)
  local head = {'+' .. number, p, string.format('%.0f', at), entry[1], #queue}
  for i, part in ipairs(entry[2]) do head[5 + i] = #part end
  return table.concat(head, ' ') .. '\n' .. queue .. table.concat(entry[2])
end

-- Strikes off a fetch that is to be handed nothing, and has it look again, which it otherwise would
-- after half its lease only. Nobody may be there; or somebody at another node of a cluster, who
-- hears what is said here although nobody is counted.
local function dismiss(queue, waiter)
  call('ZREM', base .. ':z:' .. queue, waiter)
  local client, number = string.match(waiter, '^(%S+) (%S+)')
  call('PUBLISH', base .. ':c:' .. client, number .. ' ' .. queue)
end

-- The fetch that has waited longest, where it may be handed a message: itself, its client, its
-- number and its lease. A fetch looks again after half its lease: one that did not is blocked, and
-- would keep the message for as long.
local function longest_waiting(queue, at)
  while true do
    local waiter, since = unpack(call('ZRANGE', base .. ':z:' .. queue, 0, 0, 'WITHSCORES'))
    local client, number, lease = string.match(waiter or '', '^(%S+) (%S+) (%S+)$')
    if not lease then return nil end
    if at - since <= lease * 3 / 4 then return waiter, client, number, lease end
    dismiss(queue, waiter)
  end
end

-- To be called after `put`, with what that answered and the message's body.
local function hand_over(place, body, at)
  local p, queue = string.match(place, '^(%d)%S+ (.*)$')
  if not p or #body > LARGEST or call('SISMEMBER', base .. ':p', queue) == 1 then return end
  local waiter, client, number, lease = longest_waiting(queue, at)
  if not waiter then return end
  local channel = base .. ':c:' .. client
  -- before it is said: who listens to a replica would hear it, and nobody would know
  if call('PUBSUB', 'NUMSUB', channel)[2] == 0 then return dismiss(queue, waiter) end
  call('ZREM', base .. ':z:' .. queue, waiter)
  local s = stream(p, queue)
  local entry = lease_one(s, lease .. '-' .. client)
  local fields = entry[2]
  if call('SISMEMBER', base .. ':k', fields[2]) == 1 then -- an older one, which is not wanted
    fields[#fields + 1], fields[#fields + 2] = 'c', '1'
  end
  call('ZADD', base .. ':t', 'LT', at + lease + 1, 's' .. p .. queue)
  call('PUBLISH', channel, describe(number, p, at, entry, queue))
  note_ready(queue, -1)
end
