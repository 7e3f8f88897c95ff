-- Reads one delivery.
-- Arguments: id.
-- Answers {field, value, ...}, or nothing for an unknown one.

local flat = call('HGETALL', delivery_key(args.id))
if #flat == 0 then return false end
local delivery = call('HMGET', delivery_key(args.id), 'state', 'host')
append_breaker_end(flat, delivery[1], delivery[2])
return flat
