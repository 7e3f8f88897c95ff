-- Puts pending deliveries into the lists where they are missing.
-- Arguments: from, count. Answers the next `from`, or -1 at the end.

local from, count = tonumber(A.from), tonumber(A.count)
local pending = call('ZRANGE', OUTBOX, from, from + count - 1, 'WITHSCORES')
if #pending > 0 then begin() end
for i = 1, #pending, 2 do
  local id = pending[i]
  local d = call('HMGET', delivery_key(id), 'task', 'host', 'created')
  if d[1] and d[2] then
    call('ZADD', host_outbox_key(d[2]), 'NX', pending[i + 1], id)
    due_at_host(d[2])
    call('ZADD', DELIVERIES, 'NX', d[3], id)
    call('ZADD', deliveries_key('pending'), 'NX', d[3], id)
    call('ZADD', task_deliveries_key(d[1]), 'NX', d[3], id)
  elseif not d[1] then
    call('ZREM', OUTBOX, id)
    call('HDEL', OUTBOX_HELD, id)
  end
end
if #pending < 2 * count then return -1 end
return from + #pending / 2
