-- Strikes off a fetch that waits no more; what it was woken for wakes the next one.
-- include: keys
-- KEYS  base
-- ARGV  waiter, then the queues
-- Answers how often it was still registered.

local found = 0
for i = 2, #ARGV do
  if strike_off(ARGV[i], ARGV[1]) then found = found + 1
  elseif call('SISMEMBER', base .. ':p', ARGV[i]) == 0 then pass_on(ARGV[i]) end
end
return found
