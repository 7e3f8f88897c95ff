-- Rebuilds queue entries and slots from the records of the tasks in flight, and forgets tasks that have expired, and
-- sends off callbacks that wait for an upload which is not heard of.
-- Arguments: status (pending or running), from, count. Answers the next `from`, or -1 at the end.

local from, count = tonumber(A.from), tonumber(A.count)
local tasks = call('ZRANGE', status_key(A.status), from, from + count - 1)
for _, t in ipairs(tasks) do
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
    local s = call('HMGET', stage_key(t, n), 'state', 'queue', 'qseq', 'run', 'attempt', 'owner', 'lease')
    if s[1] == 'PENDING' then
      call('ZADD', queue_key(s[2]), 'NX', s[3], queue_member(t, n))
    elseif s[1] == 'RUNNING' then
      call('ZADD', held_key(s[2]), 'NX', s[7], held_member(t, n, s[4], s[5], s[6]))
    end
  end
end
for _, t in ipairs(call('ZRANGEBYSCORE', EXPIRY, '-inf', int(NOW - 1000), 'LIMIT', 0, count)) do
  settle(t)
  if call('EXISTS', stages_key(t)) == 0 then
    -- Its hash is gone with it, so no status index knows where it stood.
    for _, status in pairs(TASK_STATUS) do call('ZREM', status_key(status), t) end
    for n in string.gmatch(A.names or '', '[^ ]+') do call('ZREM', node_key(n), t) end
    forget_task(t)
    emit(t, nil, nil, 'deleted')
  end
end
-- Nor do they wait longer than that where the clock was set back.
for _, member in ipairs(call('ZRANGEBYSCORE', AWAITED, '(' .. int(NOW + UPLOAD_SILENT_MS), '+inf', 'LIMIT', 0, count)) do
  call('ZADD', AWAITED, int(NOW + UPLOAD_SILENT_MS), member)
end
for _, member in ipairs(call('ZRANGEBYSCORE', AWAITED, '-inf', int(NOW), 'LIMIT', 0, count)) do
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  call('ZREM', AWAITED, member)
  deliver_uploaded(t, n, load(t, n))
end
if #tasks < count then return -1 end
return from + count
