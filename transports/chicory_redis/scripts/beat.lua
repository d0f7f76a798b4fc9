-- Stores a worker's heartbeat, or removes the worker.
-- include: keys
-- KEYS  base
-- ARGV  worker id, ttl in ms (0: remove), packed record
-- Answers 1. Workers that stopped beating are forgotten an hour after their expiry.

insist()
local w, at, ttl = base .. ':w', clock(), tonumber(ARGV[2])
if ttl <= 0 then call('HDEL', w, ARGV[1]) return 1 end
local all = call('HGETALL', w)
for i = 1, #all, 2 do
  local expiry = tonumber(string.match(all[i + 1], '^%d+ (%d+)'))
  if expiry + HOUR < at then call('HDEL', w, all[i]) end
end
call('HSET', w, ARGV[1], at .. ' ' .. at + ttl .. ' ' .. ARGV[3])
if call('PTTL', w) < ttl + HOUR then call('PEXPIRE', w, ttl + HOUR) end
return 1
