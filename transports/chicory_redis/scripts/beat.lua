-- Stores a worker's heartbeat, or removes the worker.
-- include: keys
-- KEYS  base
-- ARGV  worker id, ttl in ms (0: remove), packed record
-- Answers 1. Workers that stopped beating are forgotten an hour after their expiry, or a little
-- later: each heartbeat looks at a few, for there may be thousands of them, and as many heartbeats.

local FEW = 10

insist()
local w, ttl, t = base .. ':w', tonumber(ARGV[2]), call('TIME')
local at = clock()
if ttl <= 0 then call('HDEL', w, ARGV[1]) return 1 end
local some = call('HRANDFIELD', w, FEW, 'WITHVALUES')
for i = 1, #some, 2 do
  local expiry = tonumber(string.match(some[i + 1], '^%d+ (%d+)'))
  if expiry / 1000 + HOUR < at then call('HDEL', w, some[i]) end
end
local us = t[1] * 1000000 + t[2]
call('HSET', w, ARGV[1], string.format('%.0f %.0f ', us, us + ttl * 1000) .. ARGV[3])
if call('PTTL', w) < ttl + HOUR then call('PEXPIRE', w, ttl + HOUR) end
return 1
