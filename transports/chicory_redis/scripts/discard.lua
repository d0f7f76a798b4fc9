-- Deletes dead letters.
-- include: span keys index once leave letters
-- KEYS  base
-- ARGV  memo, turn, again; then letter ids
-- Answers for each: 1, or 0 where it was not there.

local known = recall()
if known then return known end

insist()
local answers, queues = {}, {}
for i = 4, #ARGV do
  local stored = call('HGET', base .. ':y', ARGV[i])
  if stored then
    remove_letter(ARGV[i], stored)
    queues[letter_queue(stored)] = true
  end
  answers[#answers + 1] = stored and 1 or 0
end
for queue in pairs(queues) do tidy(queue) end
return remember(answers)
