-- Forgets tasks and deliveries that have expired. Arguments: count, names. Answers how many of each there were at most:
-- `count` when there may be more.

local count = tonumber(A.count)
local tasks = forget_expired(count)
local deliveries = call('ZRANGEBYSCORE', DELIVERIES_EXPIRY, '-inf', int(NOW - 100), 'LIMIT', 0, count)
for _, member in ipairs(deliveries) do
  local t, id = string.match(member, '^([^|]+)|(.+)$')
  call('ZREM', DELIVERIES_EXPIRY, member)
  forget_delivery(t, id)
end
return math.max(tasks, #deliveries)
