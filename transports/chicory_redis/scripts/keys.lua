-- Included. KEYS[1] is the base of all keys of a namespace, "{namespace}": one hash slot.
--
--   base:q              set     queues that may hold something
--   base:p              set     paused queues
--   base:m:<span>       hash    live messages, in parts (see span.lua): id -> place (see place.lua)
--   base:s:<p>:<queue>  stream  ready and leased messages of a priority; fields i (id), d (body),
--                               k (unique key), n (deliveries before this entry)
--   base:d:<queue>      zset    delayed messages: id -> time due, ms
--   base:e:<queue>      hash    delayed messages: id -> packed priority, deliveries, key, body
--   base:t              zset    the agenda: "d<queue>" -> first one due, "s<p><queue>" -> first
--                               lease that may end, ms
--   base:h              hash    agenda member -> where a long look for ended leases goes on
--   base:k              set     messages whose cancellation was requested while they were leased
--   base:u:<key>        string  unique key: id of its holder
--   base:r:<id>         string  record; channel of the same name: its changes
--   base:x, base:x:<queue>  zset  dead letters: id -> serial, of all and of a queue
--   base:y              hash    dead letters: id -> "<length of queue>:<queue><packed letter>"
--   base:w              hash    workers: id -> "<beat us> <expiry us> <packed record>"
--   base:z:<queue>      zset    fetches that wait -> since, ms: "<client> <number>", and
--                               " <lease ms>" of those that may be handed a message
--   base:c:<client>     channel wakes a client's fetch: "<number> <queue>", or hands it a message
--                               (see hand.lua)
--   base:o:<memo>       string  the last answer to a client, in case its call is sent again
--
-- The group's pending list holds the leases: consumer "<lease ms>-<client>" has the entry,
-- consumer POOL those given back, which are fetched again before what is new. The delivery
-- counter tells leases of one entry apart: SERIES * releases + deliveries never comes twice.

local base = KEYS[1]
local GROUP, POOL, SERIES = '@GROUP@', '-', 1000000 -- the group's name is filled in
local HOUR, MINUTE = 3600000, 60000
local call, pcall_redis = redis.call, redis.pcall

local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A first write that is not refused when memory is full lets those that follow pass.
local function insist()
  call('DEL', base .. ':full')
end

local function stream(p, queue)
  return base .. ':s:' .. p .. ':' .. queue
end

-- Whether a command was refused since nobody has read the stream yet: who reads first makes the
-- group. Another refusal is raised by a second `call`, which tells of it better than `error`.
local function lacks_group(answer)
  return answer and answer.err and string.find(answer.err, 'NOGROUP')
end

-- What is said of a command for which the user lacks a permission, else nil. No server names it.
local function denied(command, err)
  if string.find(err, 'NOPERM', 1, true) or string.find(err, "executing the script can't", 1, true) then
    return command .. ': ' .. err
  end
end

-- In place of `call` where what it raises is caught, and with it the line that would tell.
local function call_by_name(command, ...)
  local answer = pcall_redis(command, ...)
  local err = type(answer) == 'table' and answer.err
  if err then error(denied(command, err) or err, 0) end
  return answer
end

-- What a command says of a group; nil where there is none yet, or no stream.
local function ask_group(command, ...)
  local answer = pcall_redis(command, ...)
  if not answer.err then return answer end
  local why = denied(command, answer.err)
  if why then error(why, 0) end
  return nil
end

-- The pending list's row of an entry: id, consumer, idle ms, counter; nil where there is none.
local function row(s, entry)
  local rows = ask_group('XPENDING', s, GROUP, entry, entry, 1)
  return rows and rows[1]
end

local function lease_of(consumer)
  return tonumber(string.match(consumer, '^%d+')) or 0
end

local function is_leased(r)
  return r[2] ~= POOL and r[3] <= lease_of(r[2])
end

-- How many entries of a stream are leased.
local function count_leased(s)
  local summary = ask_group('XPENDING', s, GROUP)
  if not summary or summary[1] == 0 then return 0 end
  local leased = summary[1]
  for _, each in ipairs(summary[4]) do
    if each[1] == POOL then leased = leased - each[2] end
  end
  return leased
end

local function count_ready(s)
  local length = call('XLEN', s)
  return length == 0 and 0 or length - count_leased(s)
end

-- Wakes up to n waiting fetches of a queue; those whose client is gone do not count.
local function wake(queue, n)
  local z = base .. ':z:' .. queue
  while n > 0 do
    local waiter = call('ZPOPMIN', z)[1]
    if not waiter then return end
    local client, number = string.match(waiter, '^(%S+) (%S+)')
    if call('PUBLISH', base .. ':c:' .. client, number .. ' ' .. queue) > 0 then n = n - 1 end
  end
end

-- Strikes off a fetch that waits no more for a queue; answers whether it was there. Those who have
-- waited longer may not know of a delayed message that came since: one of them looks again.
local function strike_off(queue, waiter)
  if call('ZREM', base .. ':z:' .. queue, waiter) == 0 then return false end
  if call('EXISTS', base .. ':d:' .. queue) == 1 then wake(queue, 1) end
  return true
end

-- Wakes one fetch of a queue if a message is ready there.
local function pass_on(queue)
  if call('EXISTS', base .. ':z:' .. queue) == 0 then return end
  for p = 0, 2 do
    if count_ready(stream(p, queue)) > 0 then return wake(queue, 1) end
  end
end
