-- A consumer leaves the streams where it holds nothing.
-- include: keys
-- KEYS  base
-- ARGV  consumer, then the queues
-- Answers 1.

for i = 2, #ARGV do
  for p = 0, 2 do
    local s = stream(p, ARGV[i])
    local rows = ask_group('XPENDING', s, GROUP, '-', '+', 1, ARGV[1])
    if rows and #rows == 0 then call('XGROUP', 'DELCONSUMER', s, GROUP, ARGV[1]) end
  end
end
return 1
