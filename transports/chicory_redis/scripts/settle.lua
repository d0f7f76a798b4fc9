-- Settles leased messages, each one whole or, where the lease is another one's by now, not at all.
-- include: span keys index once place leave records letters
-- KEYS  base
-- ARGV  memo, turn, again, a consumer that most leases are held by, number of settlements, number
--       of queues, the queues; then, in the order of the settlements, each of them or a run of them:
--         kind, priority, queue number, counter, ttl of record
--       and after these
--         d  a run of calls that are done and leave nothing but records: how many; for each of them
--            entry id, id, record
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

local FEW = 4

-- Deletions are gathered; what publishes has them done first.
local function sweep()
  for s, entries in pairs(gone_entries) do
    call('XACK', s, GROUP, unpack(entries))
    call('XDEL', s, unpack(entries)) -- never a trim: what no lease names may yet be live
  end
  forget_all(gone_ids)
  gone_entries, gone_ids = {}, {}
end

-- The counters of a consumer's leases in a stream, by entry: one look for a batch costs less than
-- one for each settlement. Those of a batch mostly follow its first one; what is not among them is
-- sought among the consumer's oldest ones, and then by itself.
local counters, sought = {}, {}
local function look(s, from, most)
  local found = counters[s]
  local rows = ask_group('XPENDING', s, GROUP, from, '+', most, ARGV[4])
  for _, r in ipairs(rows or {}) do
    if found[r[1]] == nil then found[r[1]] = r[4] end
  end
end

local function counters_of(s, first)
  local found = counters[s]
  if not found then
    found = {}
    counters[s] = found
    if tonumber(ARGV[5]) > FEW then look(s, first, ARGV[5]) else sought[s] = true end
  end
  return found
end

local function is_mine(s, entry, counter)
  local found = counters_of(s, entry)
  if found[entry] == nil and not sought[s] then
    sought[s] = true
    look(s, '-', ARGV[5] * 2)
  end
  if found[entry] == nil then
    local r = row(s, entry)
    return r ~= nil and r[4] == counter
  end
  return found[entry] == counter
end

local function take_out(s, queue, entry)
  local entries = gone_entries[s]
  if entries then entries[#entries + 1] = entry else gone_entries[s] = {entry} end
  counters[s][entry] = false
  left_queues[queue] = s
end

local function finish(id)
  if requests then call('SREM', base .. ':k', id) end
  gone_ids[#gone_ids + 1] = id
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
  keep(a.id, put(queue, a.id, p, due, 0, a.key, body, at))
end

local function give_back(a, s, i)
  local due, deliveries = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  if due > at and not is_unwanted(a.id) then
    local entry = call('XRANGE', s, a.entry, a.entry)[1]
    sweep()
    keep(a.id, put(a.queue, a.id, a.p, due, deliveries, a.key, field(entry, 'd'), at))
    take_out(s, a.queue, a.entry)
  else
    call('XCLAIM', s, GROUP, POOL, 0, a.entry, 'JUSTID', 'RETRYCOUNT', a.counter + SERIES - 1)
    counters[s][a.entry] = false
    note_ready(a.queue, 1)
  end
end

-- The message is taken out last: where anything before that is refused it stays leased.
local function settle(kind, a, i, particulars, follow_ups)
  local s = stream(a.p, a.queue)
  if not is_mine(s, a.entry, a.counter) then return 0 end
  local after = i + particulars
  if kind == 'R' then check_target(ARGV[i], ARGV[i + 1]) end
  for j = after, after + 7 * (follow_ups - 1), 7 do check_target(ARGV[j], ARGV[j + 2]) end
  if kind == 'B' then give_back(a, s, i) return 1 end
  put_record(a.id, a.ttl, a.record)
  if kind == 'R' then retry(a, i)
  else
    if kind == 'L' then add_letter(ARGV[i], ARGV[i + 1], ARGV[i + 2], at) end
    if a.key ~= '' then free_key(a.key, a.id) end
    finish(a.id)
  end
  take_out(s, a.queue, a.entry)
  if follow_ups > 0 then sweep() end
  for j = after, after + 7 * (follow_ups - 1), 7 do
    publish(ARGV[j], ARGV[j + 1], ARGV[j + 2], tonumber(ARGV[j + 3]), ARGV[j + 4], ARGV[j + 5],
      ARGV[j + 6], at)
  end
  return 1
end

local answers, type = {}, type

-- The record first: where it cannot be stored the message stays leased. No function is called for
-- each of the many, and none of the tables looked up: that would be a tenth of the whole.
local function finish_run(p, queue, counter, ttl, i, n)
  local s, prefix = stream(p, queue), base .. ':r:'
  local found = counters_of(s, ARGV[i])
  local entries = gone_entries[s] or {}
  local e, d, a = #entries, #gone_ids, #answers
  for j = i, i + 3 * (n - 1), 3 do
    local entry, id, result = ARGV[j], ARGV[j + 1], 0
    local held = found[entry]
    if held == counter or held == nil and is_mine(s, entry, counter) then
      result = 1
      if ttl == '-' then put_record(id, ttl)
      elseif ttl ~= '' then
        local r, record = prefix .. id, ARGV[j + 2]
        local stored = pcall_redis('SET', r, record, 'PX', ttl)
        if stored.err then result = denied('SET', stored.err) or stored.err
        else
          local told = pcall_redis('PUBLISH', r, record)
          if type(told) == 'table' then result = denied('PUBLISH', told.err) or 1 end
        end
      end
      if requests and result == 1 then
        local struck = pcall_redis('SREM', base .. ':k', id)
        if type(struck) == 'table' then result = denied('SREM', struck.err) or 1 end
      end
    end
    if result == 1 then
      found[entry] = false
      e, d = e + 1, d + 1
      entries[e], gone_ids[d] = entry, id
    end
    a = a + 1
    answers[a] = result
  end
  if e > 0 then gone_entries[s], left_queues[queue] = entries, s end
end

local i = last + 1
while i <= #ARGV do
  local kind, p, queue = ARGV[i], ARGV[i + 1], queues[tonumber(ARGV[i + 2])]
  local counter, ttl = tonumber(ARGV[i + 3]), ARGV[i + 4]
  if kind == 'd' then
    local n = tonumber(ARGV[i + 5])
    finish_run(p, queue, counter, ttl, i + 6, n)
    i = i + 6 + 3 * n
  else
    local a = {p = p, queue = queue, counter = counter, ttl = ttl, entry = ARGV[i + 5],
      id = ARGV[i + 6], record = ARGV[i + 7], key = ARGV[i + 8]}
    local follow_ups, particulars = tonumber(ARGV[i + 9]), tonumber(ARGV[i + 10])
    call = call_by_name
    local ok, answer = pcall(settle, kind, a, i + 11, particulars, follow_ups)
    call = redis.call
    if not ok and type(answer) == 'table' then answer = answer.err end
    answers[#answers + 1] = answer
    i = i + 11 + particulars + 7 * follow_ups
  end
end

sweep()
announce()
for queue, s in pairs(left_queues) do
  if call('XLEN', s) == 0 then pcall(tidy, queue) end
end
return remember(answers)
