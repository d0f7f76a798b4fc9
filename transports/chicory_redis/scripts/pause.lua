-- Stops or resumes the delivery of a queue.
-- include: keys
-- KEYS  base
-- ARGV  queue, '1' to stop or '0' to resume
-- Answers 1.

insist()
if ARGV[2] == '1' then call('SADD', base .. ':p', ARGV[1])
elseif call('SREM', base .. ':p', ARGV[1]) == 1 then
  local ready = 0
  for p = 0, 2 do ready = ready + count_ready(stream(p, ARGV[1])) end
  wake(ARGV[1], ready)
end
return 1
