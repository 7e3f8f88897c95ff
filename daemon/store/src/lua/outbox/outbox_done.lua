-- Records a try. Arguments: id, take (which taking of it this was), state (sent, pending, failed), retry_ms?, detail,
-- http_status?, keep (how many sent ones are kept), contact (answered, silent or none), breaker_after (silences in a row
-- that open the host's breaker), breaker_ms (how long at first). Answers {outcome, forgotten}: 1, 2 when a breaker was
-- opened, or 0 for a delivery that is gone (its task was deleted) or was taken by another daemon since; and how many sent ones
-- are kept no more.

-- Whether this opened the host's breaker.
local function note_contact(host)
  if A.contact == 'answered' then
    call('HDEL', breaker_key(host), 'failures', 'until', 'wait', 'probe')
  elseif A.contact == 'silent' then
    local after = tonumber(A.breaker_after)
    local h = call('HMGET', breaker_key(host), 'failures', 'probe')
    -- One that was under way when the breaker opened says nothing new; only a failed probe makes the wait longer.
    if tonumber(h[1] or 0) >= after and not h[2] then return false end
    local failures = call('HINCRBY', breaker_key(host), 'failures', 1)
    call('HDEL', breaker_key(host), 'until', 'wait', 'probe')
    local wait = 0
    if failures >= after then
      wait = tonumber(A.breaker_ms) * 2 ^ math.min(failures - after, 4)
      call('HSET', breaker_key(host), 'until', int(NOW + wait), 'wait', int(wait))
    end
    call('PEXPIRE', breaker_key(host), int(wait + 7200000))
    return failures == after
  end
  return false
end

local d = call('HMGET', delivery_key(A.id), 'task', 'name', 'host', 'take', 'created', 'end')
local t, n, host = d[1], d[2], d[3]
if not t or d[4] ~= A.take then return { 0, 0 } end
call('HSET', delivery_key(A.id), 'state', A.state, 'detail', A.detail, 'tried', int(NOW))
call('HINCRBY', delivery_key(A.id), 'attempts', 1)
if A.http_status then
  call('HSET', delivery_key(A.id), 'http_status', A.http_status)
else
  call('HDEL', delivery_key(A.id), 'http_status')
end
local opened = note_contact(host) and 2 or 1
unschedule(A.id, host)
if A.state == 'pending' then
  local at = int(NOW + tonumber(A.retry_ms))
  call('HSET', delivery_key(A.id), 'next', at)
  schedule(A.id, host, at)
  show_callback(t, n, A.id, 'pending')
  return { opened, 0 }
end
call('HDEL', delivery_key(A.id), 'next')
if d[6] then
  if call('EXISTS', end_key(d[6])) == 1 then call('HSET', end_key(d[6]), 'kept', '1') end
  count_end(d[6], -1)
end
call('ZREM', deliveries_key('pending'), A.id)
call('ZADD', deliveries_key(A.state), d[5], A.id)
local expiry = int(NOW + tonumber(A.ttl) * 1000)
call('PEXPIREAT', delivery_key(A.id), expiry)
call('ZADD', DELIVERIES_EXPIRY, expiry, t .. '|' .. A.id)
show_callback(t, n, A.id, A.state)
local forgotten = 0
if A.state == 'sent' then
  local surplus = call('ZCARD', deliveries_key('sent')) - tonumber(A.keep)
  if surplus > 0 then
    for _, id in ipairs(call('ZRANGE', deliveries_key('sent'), 0, math.min(surplus, 20) - 1)) do
      -- One whose record has expired is removed by `repair`, which knows its task.
      local task = call('HGET', delivery_key(id), 'task')
      if task then forgotten = forgotten + forget_delivery(task, id) end
    end
  end
end
return { opened, forgotten }
