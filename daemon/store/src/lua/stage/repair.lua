-- Rebuilds queue entries and slots from the records of the tasks in flight, completes ends that were written half, and sends
-- off callbacks that wait for an upload which is not heard of.
-- Arguments: status (pending or running), from, count. Answers the next `from`, or -1 at the end.

-- Answers whether the stage is in flight.
local function repair_stage(t, n)
  local s = redis.pcall('HMGET', stage_key(t, n), 'state', 'queue', 'qseq', 'run', 'attempt', 'owner', 'lease')
  -- One that is damaged is shown as such, and mended by `onceoverd check --repair`.
  if s.err then return false end
  if s[1] == 'PENDING' and s[2] and tonumber(s[3]) then
    call('ZADD', queue_key(s[2]), 'NX', s[3], queue_member(t, n))
  elseif s[1] == 'RUNNING' and s[2] and tonumber(s[7]) and s[4] and s[5] and s[6] then
    call('ZADD', held_key(s[2]), 'NX', s[7], held_member(t, n, s[4], s[5], s[6]))
  elseif s[1] and TASK_STATUS[s[1]] and call('PTTL', stage_key(t, n)) == -1 then
    complete_end(t, n, load(t, n))
  end
  return in_flight(s[1])
end

local from, count = tonumber(A.from), tonumber(A.count)
local tasks = call('ZRANGE', status_key(A.status), from, from + count - 1)
if #tasks > 0 then begin() end
for _, t in ipairs(tasks) do
  local is_flying = call('EXISTS', foreign_key(t)) == 1
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do is_flying = repair_stage(t, n) or is_flying end
  if not is_flying then settle(t) end
end
-- Nor do they wait longer than that where the clock was set back.
for _, member in ipairs(call('ZRANGEBYSCORE', AWAITED, '(' .. int(NOW + UPLOAD_SILENT_MS), '+inf', 'LIMIT', 0, count)) do
  call('ZADD', AWAITED, int(NOW + UPLOAD_SILENT_MS), member)
end
local awaited = call('ZRANGEBYSCORE', AWAITED, '-inf', int(NOW), 'LIMIT', 0, count)
if #awaited > 0 then begin() end
for _, member in ipairs(awaited) do
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  call('ZREM', AWAITED, member)
  deliver_uploaded(t, n, load(t, n))
end
if #tasks < count then return -1 end
return from + count
