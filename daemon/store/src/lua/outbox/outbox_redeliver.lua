-- Sends a delivery again, whatever became of it: same id and body, the schedule from its beginning. A try that is under
-- way counts no more. Arguments: id. Answers the delivery, or nothing for an unknown one.

local d = call('HMGET', delivery_key(A.id), 'task', 'name', 'host', 'state', 'created', 'end')
local t, n, host = d[1], d[2], d[3]
if not t then return false end
begin()
call('ZREM', deliveries_key(d[4]), A.id)
call('ZADD', deliveries_key('pending'), d[5], A.id)
call('ZREM', DELIVERIES_EXPIRY, t .. '|' .. A.id)
if d[6] and d[4] ~= 'pending' then count_end(d[6], 1) end
call('PERSIST', delivery_key(A.id))
call('HSET', delivery_key(A.id), 'state', 'pending', 'attempts', '0', 'next', int(NOW))
call('HINCRBY', delivery_key(A.id), 'take', 1)
call('HDEL', OUTBOX_HELD, A.id)
-- Who asks for it wants a try now.
call('HDEL', breaker_key(host), 'until', 'wait', 'probe')
schedule(A.id, host, int(NOW))
show_callback(t, n, A.id, 'pending')
return call('HGETALL', delivery_key(A.id))
