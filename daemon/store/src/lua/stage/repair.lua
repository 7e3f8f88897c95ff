-- Rebuilds queue entries and slots from the records of the tasks in flight, completes ends of which only a part was
-- written, and delivers callbacks that wait for an upload which nobody reports.
-- Arguments: status (pending or running), from, count.
-- Answers the next `from`, or -1 at the end.

-- Repairs what belongs to one stage. Answers whether it is in flight.
local function repair_stage(task, node)
  local stage = redis.pcall('HMGET', stage_key(task, node), 'state', 'queue', 'qseq', 'run', 'attempt', 'owner',
    'lease', 'dispatch')
  -- A damaged record is shown as such, and repaired by `onceoverd check --repair`.
  if stage.err then return false end
  if stage[1] == 'PENDING' and stage[2] and tonumber(stage[3]) then
    call('ZADD', queue_key(stage[2]), 'NX', get_queue_score(stage[3], stage[8]), stage_member(task, node))
  elseif stage[1] == 'RUNNING' and stage[2] and tonumber(stage[7]) and stage[4] and stage[5] and stage[6] then
    call('ZADD', slots_key(stage[2]), 'NX', stage[7], slot_member(task, node, stage[4], stage[5], stage[6]))
  elseif stage[1] and TASK_STATUS[stage[1]] and call('PTTL', stage_key(task, node)) == -1 then
    complete_end(task, node, load_record(task, node))
  end
  return is_in_flight(stage[1])
end

local from, count = tonumber(args.from), tonumber(args.count)
local tasks = call('ZRANGE', status_index_key(args.status), from, from + count - 1)
if #tasks > 0 then require_writable() end
for _, task in ipairs(tasks) do
  local has_run = call('EXISTS', foreign_key(task)) == 1
  for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    has_run = repair_stage(task, node) or has_run
  end
  if not has_run then update_task_status(task) end
end
-- Callbacks do not wait longer than that where the clock was set back.
local latest = format_integer(NOW + UPLOAD_SILENCE_MS)
for _, member in ipairs(call('ZRANGEBYSCORE', AWAITED, '(' .. latest, '+inf', 'LIMIT', 0, count)) do
  call('ZADD', AWAITED, latest, member)
end
local awaited = call('ZRANGEBYSCORE', AWAITED, '-inf', NOW_DIGITS, 'LIMIT', 0, count)
if #awaited > 0 then require_writable() end
for _, member in ipairs(awaited) do
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  call('ZREM', AWAITED, member)
  deliver_awaiting_callbacks(task, node, load_record(task, node))
end
if #tasks < count then return -1 end
return from + count
