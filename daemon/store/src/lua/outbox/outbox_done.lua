-- Records how a try of a delivery went.
-- Arguments: id, take (the number of the taking that the try belongs to), state (sent, pending or failed), retry_ms?
-- (for pending), detail, http_status?, keep (how many sent deliveries are kept), contact (answered, silent or none),
-- breaker_after (silences in a row that open the host's breaker), breaker_ms (how long a breaker is open at first).
-- Answers {outcome, deleted}: the outcome is 1, 2 if the breaker was opened, or 0 for a delivery that does not exist
-- any more or that another daemon has taken since; `deleted` is the number of sent deliveries that are not kept any
-- longer.

-- Records whether the host answered. Answers whether that opened its breaker.
local function record_contact(host)
  if args.contact == 'answered' then
    call('HDEL', breaker_key(host), 'failures', 'until', 'wait', 'probe')
  elseif args.contact == 'silent' then
    local after = tonumber(args.breaker_after)
    local breaker = call('HMGET', breaker_key(host), 'failures', 'probe')
    -- A try that was under way when the breaker opened is no news; only a failed probe makes the wait longer.
    if tonumber(breaker[1] or 0) >= after and not breaker[2] then return false end
    local failures = call('HINCRBY', breaker_key(host), 'failures', 1)
    call('HDEL', breaker_key(host), 'until', 'wait', 'probe')
    local wait = 0
    if failures >= after then
      wait = tonumber(args.breaker_ms) * 2 ^ math.min(failures - after, 4)
      call('HSET', breaker_key(host), 'until', format_integer(NOW + wait), 'wait', format_integer(wait))
    end
    call('PEXPIRE', breaker_key(host), format_integer(wait + 7200000))
    return failures == after
  end
  return false
end

local delivery = call('HMGET', delivery_key(args.id), 'task', 'name', 'host', 'take', 'created', 'end')
local task, node, host = delivery[1], delivery[2], delivery[3]
if not task or delivery[4] ~= args.take then return { 0, 0 } end
call('HSET', delivery_key(args.id), 'state', args.state, 'detail', args.detail, 'tried', NOW_DIGITS)
call('HINCRBY', delivery_key(args.id), 'attempts', 1)
if args.http_status then
  call('HSET', delivery_key(args.id), 'http_status', args.http_status)
else
  call('HDEL', delivery_key(args.id), 'http_status')
end
local opened = record_contact(host) and 2 or 1
unschedule_delivery(args.id, host)
if args.state == 'pending' then
  local at = format_integer(NOW + tonumber(args.retry_ms))
  call('HSET', delivery_key(args.id), 'next', at)
  schedule_delivery(args.id, host, at)
  update_callback_status(task, node, args.id, 'pending')
  return { opened, 0 }
end
call('HDEL', delivery_key(args.id), 'next')
if delivery[6] then
  if call('EXISTS', end_key(delivery[6])) == 1 then call('HSET', end_key(delivery[6]), 'kept', '1') end
  count_end_deliveries(delivery[6], -1)
end
call('ZREM', deliveries_key('pending'), args.id)
call('ZADD', deliveries_key(args.state), delivery[5], args.id)
local expiry = format_integer(NOW + tonumber(args.ttl) * 1000)
call('PEXPIREAT', delivery_key(args.id), expiry)
call('ZADD', DELIVERIES_EXPIRY, expiry, task .. '|' .. args.id)
update_callback_status(task, node, args.id, args.state)
local deleted = 0
if args.state == 'sent' then
  local surplus = call('ZCARD', deliveries_key('sent')) - tonumber(args.keep)
  if surplus > 0 then
    for _, id in ipairs(call('ZRANGE', deliveries_key('sent'), 0, math.min(surplus, 20) - 1)) do
      -- One whose record has expired is removed by `expire`, which knows its task.
      local sent_task = call('HGET', delivery_key(id), 'task')
      if sent_task then deleted = deleted + delete_delivery(sent_task, id) end
    end
  end
end
return { opened, deleted }
