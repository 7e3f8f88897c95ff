-- Stages of somebody else that callbacks wait for and that are due to be looked at. Arguments: every_ms, count. Answers
-- {task, name, ...}.

local due = {}
local members = call('ZRANGEBYSCORE', WATCHES, '-inf', int(NOW), 'LIMIT', 0, A.count)
-- None is due later than the next look: what is was put there before the clock was set back.
local beyond = '(' .. int(NOW + 2 * tonumber(A.every_ms) + 1000)
for _, member in ipairs(call('ZRANGEBYSCORE', WATCHES, beyond, '+inf', 'LIMIT', 0, A.count)) do members[#members + 1] = member end
for _, member in ipairs(members) do
  call('ZADD', WATCHES, int(NOW + tonumber(A.every_ms)), member)
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  due[#due + 1] = t
  due[#due + 1] = n
end
return due
