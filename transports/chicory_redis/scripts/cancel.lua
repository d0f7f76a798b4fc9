-- Removes messages that nobody has leased, and asks for the cancellation of the others.
-- include: span keys index once place leave records
-- KEYS  base
-- ARGV  memo, turn, again; then for each: id, ttl of record, record
-- Answers for each: 0 absent, 1 removed and the record stored, 2 requested.

local known = recall()
if known then return known end

insist()
local answers, queues = {}, {}

local function cancel(id)
  local place = find(id)
  if not place then return 0 end
  if string.sub(place, 1, 1) == 'd' then
    local queue = string.sub(place, 2)
    drop_delayed(queue, id)
    reschedule(queue)
    queues[queue] = true
    return 1
  end
  local p, entry, queue = string.match(place, '^(%d)(%S+) (.*)$')
  local s = stream(p, queue)
  local r = row(s, entry)
  if r and is_leased(r) then
    call('SADD', base .. ':k', id)
    return 2
  end
  local found = call('XRANGE', s, entry, entry)[1]
  if not found then
    forget(id)
    return 0
  end
  drop_entry(s, found)
  queues[queue] = true
  return 1
end

for i = 4, #ARGV, 3 do
  local answer = cancel(ARGV[i])
  if answer == 1 then put_record(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
  answers[#answers + 1] = answer
end
for queue in pairs(queues) do tidy(queue) end
return remember(answers)
