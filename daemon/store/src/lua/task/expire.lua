-- Deletes tasks and deliveries that have expired, up to `count` of each.
-- Arguments: count, names.
-- Answers the larger of the two numbers: `count` if there may be more.

local count = tonumber(args.count)
local tasks = delete_expired_tasks(count)
local deliveries = call('ZRANGEBYSCORE', DELIVERIES_EXPIRY, '-inf', format_integer(NOW - 100), 'LIMIT', 0, count)
for _, member in ipairs(deliveries) do
  local task, id = string.match(member, '^([^|]+)|(.+)$')
  call('ZREM', DELIVERIES_EXPIRY, member)
  delete_delivery(task, id)
end
return math.max(tasks, #deliveries)
