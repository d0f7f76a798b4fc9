-- Included first: which part of the index (see index.lua) has an id. Ids mostly begin with their
-- time (UUIDs of version 7), of which these digits are four seconds: what came together is found
-- together, and a part is small however many messages wait. Any other id will do as well.

local function span_of(id)
  return KEYS[1] .. ':m:' .. string.sub(id, 1, 9)
end
