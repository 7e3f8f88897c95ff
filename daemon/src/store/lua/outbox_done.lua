-- Records a try. Arguments: id, state (sent, pending, failed), retry_ms?, detail. Answers 1, or 0 for a delivery
-- that is gone (its task was deleted).

local d = call('HMGET', delivery_key(A.id), 'task', 'name', 'run')
local t, n = d[1], d[2]
if not t then
  call('ZREM', OUTBOX, A.id)
  return 0
end
call('HSET', delivery_key(A.id), 'state', A.state, 'detail', A.detail, 'tried', int(NOW))
if A.state == 'pending' then
  call('ZADD', OUTBOX, int(NOW + tonumber(A.retry_ms)), A.id)
  return 1
end
call('ZREM', OUTBOX, A.id)
call('EXPIRE', delivery_key(A.id), A.ttl)
if call('EXISTS', task_key(t)) == 1 then call('HSET', task_key(t), 'callback_status', A.state) end
local r = load(t, n)
if r and (r.run == d[3] or r.res_run == d[3] or d[3] == '') then
  change(t, n, r, { callback_status = A.state })
  emit(t, n, r, 'callback')
end
return 1
