-- Extends leases by their consumer's lease time from now.
-- include: keys
-- KEYS  base
-- ARGV  for each lease: queue, priority, entry id, consumer, counter, id
-- Answers for each: 0 lost, 1 held, 2 held and its cancellation is requested.

insist()
local at, answers, soonest = clock(), {}, {}
local requests = call('EXISTS', base .. ':k') == 1
for i = 1, #ARGV, 6 do
  local queue, p, entry, consumer = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local s = stream(p, queue)
  local r, answer = row(s, entry), 0
  if r and r[4] == tonumber(ARGV[i + 4]) then
    call('XCLAIM', s, GROUP, consumer, 0, entry, 'JUSTID')
    local ends, member = at + lease_of(consumer) + 1, 's' .. p .. queue
    soonest[member] = math.min(soonest[member] or ends, ends)
    answer = requests and call('SISMEMBER', base .. ':k', ARGV[i + 5]) == 1 and 2 or 1
  end
  answers[#answers + 1] = answer
end
for member, ends in pairs(soonest) do call('ZADD', base .. ':t', 'LT', ends, member) end
return answers
