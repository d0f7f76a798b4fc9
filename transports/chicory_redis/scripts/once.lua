-- Included: an answer that was lost is given again. ARGV[1] names the memo, ARGV[2] is the
-- number of the call, ARGV[3] '1' where the call may have been made before. Only by a server that
-- takes writes: one that stood still, and was replaced, carries out what was sent to it before it
-- learns of that.

local memo, turn = base .. ':o:' .. ARGV[1], ARGV[2] .. ' '

local function recall()
  if ARGV[3] ~= '1' then return nil end
  local kept = call('GET', memo)
  if kept and string.sub(kept, 1, #turn) == turn then
    insist()
    return cmsgpack.unpack(string.sub(kept, #turn + 1))
  end
end

local function remember(answers)
  call('SET', memo, turn .. cmsgpack.pack(answers), 'PX', MINUTE)
  return answers
end
