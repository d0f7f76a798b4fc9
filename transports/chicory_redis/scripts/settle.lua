-- Settles leased messages, each one whole or, where the lease is another one's by now, not at all.
-- include: keys once place leave records letters
-- KEYS  base
-- ARGV  memo, turn, again, a consumer that most leases are held by, number of settlements, number
--       of queues, the queues; then, before the first settlement and wherever they change,
--         =  priority, queue number, counter, ttl of record
--       and for each settlement its kind and
--         d  entry id, id, record
--       and for all other kinds
--            entry id, id, record, unique key, number of follow-ups, number of particulars,
--            particulars, follow-ups
--         D  done
--         R  retry; particulars: queue, priority, due ms, body
--         L  dead; particulars: letter id, letter's queue, packed letter
--         B  back; particulars: due ms, deliveries to keep
--       a follow-up: queue, id, priority, due ms, key, ttl of key, body
-- Answers for each: 1 settled, 0 fenced out, or the text of an error, which undid nothing of the
-- others and of its own settlement began nothing.

local known = recall()
if known then return known end

insist()
local at = clock()
local requests = call('EXISTS', base .. ':k') == 1
local queues, gone_entries, gone_ids, left_queues = {}, {}, {}, {}
local last = 6 + ARGV[6]
for i = 7, last do queues[i - 7] = ARGV[i] end

-- Deletions are gathered; what publishes has them done first.
local function sweep()
  for s, entries in pairs(gone_entries) do
    call('XACK', s, GROUP, unpack(entries))
    call('XDEL', s, unpack(entries))
  end
  if #gone_ids > 0 then call('HDEL', base .. ':m', unpack(gone_ids)) end
  gone_entries, gone_ids = {}, {}
end

-- The counters of a consumer's leases in a stream, by entry: one look for a batch costs less than
-- one for each settlement. Entries that are not among them are looked at singly.
local FEW = 4
local counters = {}
local function counters_of(s)
  local found = counters[s]
  if found then return found end
  found = {}
  if tonumber(ARGV[5]) > FEW then
    local rows = pcall_redis('XPENDING', s, GROUP, '-', '+', ARGV[5] * 2, ARGV[4])
    for _, r in ipairs(rows.err and {} or rows) do found[r[1]] = r[4] end
  end
  counters[s] = found
  return found
end

local function is_mine(s, entry, counter)
  local known_counter = counters_of(s)[entry]
  if known_counter == nil then
    local r = row(s, entry)
    return r ~= nil and r[4] == counter
  end
  return known_counter == counter
end

local function take_out(s, queue, entry)
  local entries = gone_entries[s]
  if entries then entries[#entries + 1] = entry else gone_entries[s] = {entry} end
  counters[s][entry] = false
  left_queues[queue] = s
end

local function finish(id)
  gone_ids[#gone_ids + 1] = id
  if requests then call('SREM', base .. ':k', id) end
end

local function done(a)
  local s = stream(a.p, a.queue)
  if not is_mine(s, a.entry, a.counter) then return 0 end
  take_out(s, a.queue, a.entry)
  finish(a.id)
  put_record(a.id, a.ttl, a.record)
  return 1
end

local function is_unwanted(id)
  return requests and call('SISMEMBER', base .. ':k', id) == 1
end

-- A key of another type would stop a settlement half-way.
local function check_target(queue, p)
  local s = stream(p, queue)
  local kind = call('TYPE', s).ok
  if kind ~= 'none' and kind ~= 'stream' then
    error({err = 'WRONGTYPE ' .. s .. ' is a ' .. kind})
  end
end

local function retry(a, i)
  local queue, p, due, body = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  if is_unwanted(a.id) then due = 0 end
  sweep()
  call('HSET', base .. ':m', a.id, put(queue, a.id, p, due, 0, a.key, body, at))
end

local function give_back(a, s, i)
  local due, deliveries = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if due > at and not is_unwanted(a.id) then
    local entry = call('XRANGE', s, a.entry, a.entry)[1]
    take_out(s, a.queue, a.entry)
    sweep()
    local place = put(a.queue, a.id, a.p, due, deliveries, a.key, field(entry, 'd'), at)
    call('HSET', base .. ':m', a.id, place)
  else
    call('XCLAIM', s, GROUP, POOL, 0, a.entry, 'JUSTID', 'RETRYCOUNT', a.counter + SERIES - 1)
    counters[s][a.entry] = false
    note_ready(a.queue, 1)
  end
end

local function settle(kind, a, i, particulars, follow_ups)
  local s = stream(a.p, a.queue)
  if not is_mine(s, a.entry, a.counter) then return 0 end
  local after = i + particulars
  if kind == 'R' then check_target(ARGV[i], ARGV[i + 1]) end
  for j = after, after + 7 * (follow_ups - 1), 7 do check_target(ARGV[j], ARGV[j + 2]) end
  if kind == 'B' then give_back(a, s, i) return 1 end
  take_out(s, a.queue, a.entry)
  if kind == 'R' then retry(a, i)
  else
    finish(a.id)
    if a.key ~= '' then free_key(a.key, a.id) end
    if kind == 'L' then add_letter(ARGV[i], ARGV[i + 1], ARGV[i + 2], at) end
  end
  if follow_ups > 0 then sweep() end
  for j = after, after + 7 * (follow_ups - 1), 7 do
    publish(ARGV[j], ARGV[j + 1], ARGV[j + 2], tonumber(ARGV[j + 3]), ARGV[j + 4], ARGV[j + 5],
      ARGV[j + 6], at)
  end
  put_record(a.id, a.ttl, a.record)
  return 1
end

local function carry_out(i, p, queue, counter, ttl)
  local kind = ARGV[i]
  local a = {p = p, queue = queue, entry = ARGV[i + 1], counter = counter, id = ARGV[i + 2],
    ttl = ttl, record = ARGV[i + 3]}
  if kind == 'd' then return i + 4, pcall(done, a) end
  a.key = ARGV[i + 4]
  local follow_ups, particulars = tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6])
  return i + 7 + particulars + 7 * follow_ups,
    pcall(settle, kind, a, i + 7, particulars, follow_ups)
end

local answers, i = {}, last + 1
local p, queue, counter, ttl
while i <= #ARGV do
  if ARGV[i] == '=' then
    p, queue, counter, ttl = ARGV[i + 1], queues[tonumber(ARGV[i + 2])], tonumber(ARGV[i + 3]), ARGV[i + 4]
    i = i + 5
  end
  local ok, answer
  i, ok, answer = carry_out(i, p, queue, counter, ttl)
  if not ok and type(answer) == 'table' then answer = answer.err end
  answers[#answers + 1] = answer
end

sweep()
announce()
for queue, s in pairs(left_queues) do
  if call('XLEN', s) == 0 then pcall(tidy, queue) end
end
return remember(answers)
