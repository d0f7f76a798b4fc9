-- Included: records. ttl in ms; '' for no record, '-' to delete the one that is there.

local function put_record(id, ttl, body)
  if ttl == '' then return end
  local r = base .. ':r:' .. id
  if ttl == '-' then call('DEL', r) return end
  call('SET', r, body, 'PX', ttl)
  call('PUBLISH', r, body)
end
