-- Stages of somebody else that callbacks wait for and that are due to be looked at. Arguments: every_ms, count. Answers
-- {task, name, ...}.

local due = {}
for _, member in ipairs(call('ZRANGEBYSCORE', WATCHES, '-inf', int(NOW), 'LIMIT', 0, A.count)) do
  call('ZADD', WATCHES, int(NOW + tonumber(A.every_ms)), member)
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  due[#due + 1] = t
  due[#due + 1] = n
end
return due
