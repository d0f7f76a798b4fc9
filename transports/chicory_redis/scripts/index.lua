-- Included: the index, which knows the place of each live message by its id.

-- What is listed, ids each with the values that follow it, by the part where it belongs.
local function by_span(list, width)
  local parts = {}
  for i = 1, #list, width do
    local span = span_of(list[i])
    local part = parts[span] or {}
    parts[span] = part
    for j = i, i + width - 1 do part[#part + 1] = list[j] end
  end
  return parts
end

-- The place of a message, or false.
local function find(id)
  return call('HGET', span_of(id), id)
end

-- The places of those that are live, by their ids.
local function find_all(ids)
  local found = {}
  for span, part in pairs(by_span(ids, 1)) do
    for i, place in ipairs(call('HMGET', span, unpack(part))) do
      if place then found[part[i]] = place end
    end
  end
  return found
end

local function keep(id, place)
  call('HSET', span_of(id), id, place)
end

-- Keeps many: ids and places in turn.
local function keep_all(places)
  for span, part in pairs(by_span(places, 2)) do call('HSET', span, unpack(part)) end
end

local function forget(id)
  call('HDEL', span_of(id), id)
end

local function forget_all(ids)
  for span, part in pairs(by_span(ids, 1)) do call('HDEL', span, unpack(part)) end
end
