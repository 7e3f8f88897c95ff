-- Lists the stages of a queue whose messages are with Celery workers: those that run, then those that wait for an owner.
-- Arguments: queue, most.
-- Answers {{task, name, run, attempt, message (its id), sent (time), worker}, ...}; worker is '' where it is not known.

local listed, seen = {}, {}

local function add_stage(task, node)
  local member = stage_member(task, node)
  local record = redis.pcall('HMGET', stage_key(task, node), 'run', 'attempt', 'dispatch', 'sent', 'worker')
  if seen[member] or record.err or not (record[1] and record[2] and record[3]) then return end
  seen[member] = true
  listed[#listed + 1] = { task, node, record[1], record[2], record[3], record[4] or NOW_DIGITS, record[5] or '' }
end

local last = tonumber(args.most) - 1
for _, member in ipairs(call('ZRANGE', slots_key(args.queue), 0, last)) do
  local task, node = string.match(member, '^([^|]+)|([^|]+)|')
  if task then add_stage(task, node) end
end
-- What has a message stands before everything else in its queue.
for _, member in ipairs(call('ZRANGEBYSCORE', queue_key(args.queue), '-inf', '(0', 'LIMIT', 0, args.most)) do
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  if task and #listed <= last then add_stage(task, node) end
end
return listed
