-- Gives back what a consumer has without knowing: the answers to its fetches were lost.
-- include: span keys index place
-- KEYS  base
-- ARGV  consumer, number of queues, the queues; then the entries it knows of, as
--       "<priority><entry id> <queue>"
-- Answers how many were given back; their deliveries are not counted.

insist()
local consumer, known, found = ARGV[1], {}, 0
local last = 2 + ARGV[2]
for i = last + 1, #ARGV do known[ARGV[i]] = true end
for i = 3, last do
  local queue = ARGV[i]
  for p = 0, 2 do
    local s = stream(p, queue)
    local rows = ask_group('XPENDING', s, GROUP, '-', '+', 10000, consumer)
    for _, r in ipairs(rows or {}) do
      if not known[p .. r[1] .. ' ' .. queue] then
        call('XCLAIM', s, GROUP, POOL, 0, r[1], 'JUSTID', 'RETRYCOUNT', r[4] + SERIES - 1)
        note_ready(queue, 1)
        found = found + 1
      end
    end
  end
end
announce()
return found
