-- A page of dead letters, oldest first.
-- include: keys
-- KEYS  base
-- ARGV  queue ('': all), id of the letter before the page ('': from the beginning), where that
--       one was if it is gone (a serial, or '-inf'), limit
-- Answers ids, serials and stored letters in turn.

local z = base .. ':x' .. (ARGV[1] ~= '' and ':' .. ARGV[1] or '')
local from = ARGV[3]
if ARGV[2] ~= '' then from = call('ZSCORE', base .. ':x', ARGV[2]) or from end
local found = call('ZRANGEBYSCORE', z, '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local answer = {}
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = call('HGET', base .. ':y', found[i])
end
return answer
