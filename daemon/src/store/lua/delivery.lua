-- One delivery. Arguments: id. Answers its fields, or nothing for an unknown one.

local flat = call('HGETALL', delivery_key(A.id))
if #flat == 0 then return false end
local d = call('HMGET', delivery_key(A.id), 'state', 'host')
local breaker = d[1] == 'pending' and d[2] and call('HMGET', breaker_key(d[2]), 'until', 'wait')
local till = breaker and open_until(breaker[1], breaker[2]) or 0
if till > 0 then
  flat[#flat + 1] = 'breaker_until'
  flat[#flat + 1] = int(till)
end
return flat
