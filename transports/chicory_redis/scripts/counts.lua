-- Counts queues at one moment.
-- include: span keys index place leave agenda
-- KEYS  base
-- ARGV  queues; none: all that may hold something or are paused
-- Answers for each: name, ready, delayed, leased, dead, 1 where it is paused or 0.

insist()
local at, queues, answer = clock(), ARGV, {}
tick(at)
if #queues == 0 then queues = call('SUNION', base .. ':q', base .. ':p') end
for _, queue in ipairs(queues) do
  local ready, leased = 0, 0
  for p = 0, 2 do
    local s = stream(p, queue)
    local here = count_leased(s)
    ready, leased = ready + call('XLEN', s) - here, leased + here
  end
  local d = base .. ':d:' .. queue
  local due = call('ZCOUNT', d, '-inf', at)
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = queue, ready + due, call('ZCARD', d) - due
  answer[n + 4], answer[n + 5] = leased, call('ZCARD', base .. ':x:' .. queue)
  answer[n + 6] = call('SISMEMBER', base .. ':p', queue)
end
announce()
return answer
