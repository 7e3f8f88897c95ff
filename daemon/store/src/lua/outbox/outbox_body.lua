-- Fixes the body of a delivery, so that each try sends the same; the first one that is given counts.
-- Arguments: id, body? (omitted if it is too large to be kept, and built again for each try).
-- Answers the body that counts, '' where none is kept; nothing for a delivery that does not exist any more.

local key = delivery_key(args.id)
local delivery = call('HMGET', key, 'end', 'body')
if call('EXISTS', key) == 0 then return false end
if delivery[2] then return delivery[2] end
if not args.body then
  if delivery[1] and call('EXISTS', end_key(delivery[1])) == 1 then call('HSET', end_key(delivery[1]), 'kept', '1') end
  return ''
end
call('HSET', key, 'body', args.body)
-- The body contains what it was made of.
call('HDEL', key, 'stage', 'reuse', 'end')
if delivery[1] then count_end_deliveries(delivery[1], -1) end
return args.body
