-- Deletes up to a number of messages of a queue that nobody has leased.
-- include: span keys index place leave agenda
-- KEYS  base
-- ARGV  queue, limit
-- Answers how many were deleted.

insist()
local queue, left = ARGV[1], tonumber(ARGV[2])
local gone = 0
tick(clock())

local function drop(s, entries)
  for _, entry in ipairs(entries) do drop_entry(s, entry) end
  gone, left = gone + #entries, left - #entries
end

local function drop_pool(s)
  local rows = ask_group('XPENDING', s, GROUP, '-', '+', left, POOL)
  for _, r in ipairs(rows or {}) do drop(s, call('XRANGE', s, r[1], r[1])) end
end

local function drop_new(s)
  local from = '-'
  for _, group in ipairs(call('XINFO', 'GROUPS', s)) do
    for i = 1, #group, 2 do
      if group[i] == 'last-delivered-id' then from = '(' .. group[i + 1] end
    end
  end
  drop(s, call('XRANGE', s, from, '+', 'COUNT', left))
end

for p = 0, 2 do
  local s = stream(p, queue)
  if left > 0 and call('EXISTS', s) == 1 then
    drop_pool(s)
    if left > 0 then drop_new(s) end
  end
end
if left > 0 then
  local delayed = call('ZRANGE', base .. ':d:' .. queue, 0, left - 1)
  for _, id in ipairs(delayed) do drop_delayed(queue, id) end
  gone = gone + #delayed
  reschedule(queue)
end
announce()
tidy(queue)
return gone
