-- Stores or deletes records, and tells those who watch.
-- include: keys records
-- KEYS  base
-- ARGV  for each: id, ttl in ms or '-' to delete, body
-- Answers how many.

insist()
for i = 1, #ARGV, 3 do put_record(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
return #ARGV / 3
