-- Exchanges dead letters for messages.
-- include: span keys index once place leave letters
-- KEYS  base
-- ARGV  memo, turn, again; then for each: letter id; queue, id, priority, due ms, key, ttl of
--       key, body of the message
-- Answers for each: 1, or 0 where the letter is not there or the message is live already, in
-- which case the letter stays.

local known = recall()
if known then return known end

local at, answers, queues = clock(), {}, {}
for i = 4, #ARGV, 8 do
  local stored, answer = call('HGET', base .. ':y', ARGV[i]), 0
  if stored and publish(ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]), ARGV[i + 5],
      ARGV[i + 6], ARGV[i + 7], at) == '' then
    remove_letter(ARGV[i], stored)
    queues[letter_queue(stored)] = true
    answer = 1
  end
  answers[#answers + 1] = answer
end
announce()
for queue in pairs(queues) do tidy(queue) end
return remember(answers)
