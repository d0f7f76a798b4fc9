-- Where calls stand.
-- include: span keys index
-- KEYS  base
-- ARGV  ids
-- Answers for each: 1 where it is leased or 0, and its record or nil.

local answers = {}
for _, id in ipairs(ARGV) do
  local running, place = 0, find(id)
  if place and string.sub(place, 1, 1) ~= 'd' then
    local p, entry, queue = string.match(place, '^(%d)(%S+) (.*)$')
    local r = row(stream(p, queue), entry)
    if r and is_leased(r) then running = 1 end
  end
  answers[#answers + 1] = running
  answers[#answers + 1] = call('GET', base .. ':r:' .. id)
end
return answers
