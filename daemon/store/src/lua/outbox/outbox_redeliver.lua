-- Sends a delivery again, in whatever state it is: with the same id and body, and the schedule from its beginning. A
-- try that is under way does not count any more.
-- Arguments: id.
-- Answers {field, value, ...}, or nothing for an unknown one.

local delivery = call('HMGET', delivery_key(args.id), 'task', 'name', 'host', 'state', 'created', 'end')
local task, node, host = delivery[1], delivery[2], delivery[3]
if not task then return false end
require_writable()
call('ZREM', deliveries_key(delivery[4]), args.id)
call('ZADD', deliveries_key('pending'), delivery[5], args.id)
call('ZREM', DELIVERIES_EXPIRY, task .. '|' .. args.id)
if delivery[6] and delivery[4] ~= 'pending' then count_end_deliveries(delivery[6], 1) end
call('PERSIST', delivery_key(args.id))
call('HSET', delivery_key(args.id), 'state', 'pending', 'attempts', '0', 'next', NOW_DIGITS)
call('HINCRBY', delivery_key(args.id), 'take', 1)
call('HDEL', OUTBOX_HELD, args.id)
-- The client wants a try now, so an open breaker does not delay it.
call('HDEL', breaker_key(host), 'until', 'wait', 'probe')
schedule_delivery(args.id, host, NOW_DIGITS)
update_callback_status(task, node, args.id, 'pending')
return call('HGETALL', delivery_key(args.id))
