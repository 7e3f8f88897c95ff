-- Lists stages of other workers that callbacks wait for and that are due to be checked; each is due again after
-- `every_ms`.
-- Arguments: every_ms, count.
-- Answers {task, name, ...}.

local due = {}
local members = call('ZRANGEBYSCORE', EXTERNAL_SUBSCRIPTIONS, '-inf', NOW_DIGITS, 'LIMIT', 0, args.count)
-- None can be due later than at the next check: one that is was put there before the clock was set back.
local beyond = '(' .. format_integer(NOW + 2 * tonumber(args.every_ms) + 1000)
for _, member in ipairs(call('ZRANGEBYSCORE', EXTERNAL_SUBSCRIPTIONS, beyond, '+inf', 'LIMIT', 0, args.count)) do
  members[#members + 1] = member
end
for _, member in ipairs(members) do
  call('ZADD', EXTERNAL_SUBSCRIPTIONS, format_integer(NOW + tonumber(args.every_ms)), member)
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  due[#due + 1] = task
  due[#due + 1] = node
end
return due
