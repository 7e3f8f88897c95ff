-- Adds pending deliveries to the lists in which they are missing.
-- Arguments: from, count.
-- Answers the next `from`, or -1 at the end.

local from, count = tonumber(args.from), tonumber(args.count)
local pending = call('ZRANGE', OUTBOX, from, from + count - 1, 'WITHSCORES')
if #pending > 0 then require_writable() end
for position = 1, #pending, 2 do
  local id = pending[position]
  local delivery = call('HMGET', delivery_key(id), 'task', 'host', 'created')
  if delivery[1] and delivery[2] then
    call('ZADD', host_outbox_key(delivery[2]), 'NX', pending[position + 1], id)
    reschedule_host(delivery[2])
    call('ZADD', DELIVERIES, 'NX', delivery[3], id)
    call('ZADD', deliveries_key('pending'), 'NX', delivery[3], id)
    call('ZADD', task_deliveries_key(delivery[1]), 'NX', delivery[3], id)
  elseif not delivery[1] then
    call('ZREM', OUTBOX, id)
    call('HDEL', OUTBOX_HELD, id)
  end
end
if #pending < 2 * count then return -1 end
return from + #pending / 2
