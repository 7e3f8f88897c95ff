-- Fixes what a delivery sends, so that each try sends the same. Arguments: id, body? (left out: it is too large to be kept,
-- and put together for each try). Answers the body that counts, or '' where there is none; nothing for a delivery that is
-- gone.

local key = delivery_key(A.id)
local d = call('HMGET', key, 'end', 'body')
if call('EXISTS', key) == 0 then return false end
if d[2] then return d[2] end
if not A.body then
  if d[1] and call('EXISTS', end_key(d[1])) == 1 then call('HSET', end_key(d[1]), 'kept', '1') end
  return ''
end
call('HSET', key, 'body', A.body)
-- What it was made of is in it.
call('HDEL', key, 'stage', 'reuse', 'end')
if d[1] then count_end(d[1], -1) end
return A.body
