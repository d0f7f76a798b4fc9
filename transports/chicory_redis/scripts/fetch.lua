-- Leases messages, the pool's before new ones, by queue, then priority, then age.
-- include: span keys index place leave agenda
-- KEYS  base
-- ARGV  consumer, lease ms, limit, waiter ('': do not wait), '1' where the waiter is registered;
--       then the queues
-- Answers ms until time alone may change the answer (-1: never), and the time; then groups of four:
-- number of the queue, priority, entries, their counters (empty: all are new). An entry whose
-- cancellation is requested has a field c in addition. Where there is
-- nothing the waiter is registered with every queue; where there is something it is struck off.

insist()
local consumer, lease, left, waiter = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local at = clock()
local requests = call('EXISTS', base .. ':k') == 1
local answer = {tick(at), at}

local function add(number, p, entries, counters)
  local n = #answer
  if requests then
    for _, entry in ipairs(entries) do
      local fields = entry[2]
      if call('SISMEMBER', base .. ':k', field(entry, 'i')) == 1 then
        fields[#fields + 1], fields[#fields + 2] = 'c', '1'
      end
    end
  end
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = number, p, entries, counters
  left = left - #entries
  note_ready(ARGV[number + 6], -#entries)
end

local function take_back(s, number, p)
  local pool = pcall_redis('XPENDING', s, GROUP, '-', '+', left, POOL)
  if lacks_group(pool) then return call('XGROUP', 'CREATE', s, GROUP, '0') end
  if pool.err then pool = call('XPENDING', s, GROUP, '-', '+', left, POOL) end -- raises why
  local entries, counters = {}, {}
  for _, r in ipairs(pool) do
    local claimed = call('XCLAIM', s, GROUP, consumer, 0, r[1], 'RETRYCOUNT', r[4] + 1)[1]
    if claimed then
      entries[#entries + 1] = claimed
      counters[#counters + 1] = r[4] + 1
    else call('XACK', s, GROUP, r[1]) end -- somebody deleted the entry
  end
  if #entries > 0 then add(number, p, entries, counters) end
end

local function take(queue, number)
  for p = 2, 0, -1 do
    local s, before = stream(p, queue), left
    if left > 0 and call('EXISTS', s) == 1 then
      take_back(s, number, p)
      if left > 0 then
        local new = call('XREADGROUP', 'GROUP', GROUP, consumer, 'COUNT', left, 'STREAMS', s, '>')
        if new then add(number, p, new[1][2], {}) end
      end
      if left < before then call('ZADD', base .. ':t', 'LT', at + lease + 1, 's' .. p .. queue) end
    end
  end
end

for i = 6, #ARGV do
  if left > 0 and call('SISMEMBER', base .. ':p', ARGV[i]) == 0 then take(ARGV[i], i - 6) end
end

if #answer == 2 then
  if waiter ~= '' then
    for i = 6, #ARGV do
      call('ZADD', base .. ':z:' .. ARGV[i], at, waiter)
      call('PEXPIRE', base .. ':z:' .. ARGV[i], MINUTE)
    end
  end
else
  if ARGV[5] == '1' then
    for i = 6, #ARGV do strike_off(ARGV[i], waiter) end
  end
  if left == 0 then -- what woke this fetch may be left for another one
    for i = 6, #ARGV do pass_on(ARGV[i]) end
  end
end
announce()
return answer
