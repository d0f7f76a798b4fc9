-- Stores messages, each one unless its id is live or its unique key held.
-- include: span quick keys index once place hand
-- KEYS  base
-- ARGV  memo, turn, again; then for each message: queue, id, priority, due ms (0: now), unique
--       key ('': none), ttl of the key in ms, body
-- Answers for each: '' where it is stored, else the id of the message in the way. Where memory
-- is full the first write is refused and nothing is stored.

local known = recall()
if known then return known end

local at, answers, ids, places = clock(), {}, {}, {}
for i = 5, #ARGV, 7 do ids[#ids + 1] = ARGV[i] end
local there = find_all(ids)
local here = {}

for n, id in ipairs(ids) do
  local i = 4 + 7 * (n - 1)
  local key = ARGV[i + 4]
  local answer = ''
  if here[id] or (there[id] and is_live(id, there[id])) then answer = id
  elseif key ~= '' then answer = take_key(key, ARGV[i + 5], id) or '' end
  if answer == '' then
    here[id] = true
    places[#places + 1] = id
    places[#places + 1] = put(ARGV[i], id, ARGV[i + 2], tonumber(ARGV[i + 3]), 0, key, ARGV[i + 6], at)
  end
  answers[n] = answer
end

keep_all(places)
if #places == 2 and #ids == 1 then hand_over(places[2], ARGV[10], at) end
announce()
return remember(answers)
