-- One delivery. Arguments: id. Answers its fields, or nothing for an unknown one.

local flat = call('HGETALL', delivery_key(A.id))
if #flat == 0 then return false end
local d = call('HMGET', delivery_key(A.id), 'state', 'host')
add_breaker(flat, d[1], d[2])
return flat
