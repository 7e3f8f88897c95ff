-- The task of stages: its status, its indexes, its expiry.

-- Deletes a task and removes it from the indexes. Its stages and deliveries are not deleted.
-- Reads, writes: task_key, stages_key, foreign_key. Writes: TASKS, EXPIRY, FOREIGN, status_index_key, node_index_key.
local function delete_task(task)
  local status = call('HGET', task_key(task), 'status')
  -- Without its hash nothing says in which index it is.
  for _, name in pairs(status and { status } or TASK_STATUS) do call('ZREM', status_index_key(name), task) end
  for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do call('ZREM', node_index_key(node), task) end
  for _, node in ipairs(call('HKEYS', foreign_key(task))) do call('ZREM', FOREIGN, stage_member(task, node)) end
  call('ZREM', TASKS, task)
  call('ZREM', EXPIRY, task)
  call('DEL', task_key(task), stages_key(task), foreign_key(task))
end

-- Sets the status of a task, and moves it between the indexes.
-- Reads, writes: task_key. Writes: status_index_key.
local function set_task_status(task, status)
  local before = call('HMGET', task_key(task), 'status', 'created')
  if before[1] ~= status then
    if before[1] then call('ZREM', status_index_key(before[1]), task) end
    call('ZADD', status_index_key(status), tonumber(before[2]) and before[2] or format_integer(NOW), task)
  end
  call('HSET', task_key(task), 'status', status, 'updated', format_integer(NOW))
end

-- Derives the status of a task from its stages and notes, and moves the task between the indexes. While a stage is in
-- flight the task does not expire; after that it does with its newest stage. A task without stages is deleted.
-- Reads: stage_key, foreign_key. Reads, writes: task_key, stages_key. Writes: TASKS, EXPIRY, FOREIGN, status_index_key,
-- node_index_key. Arguments: ttl.
local function update_task_status(task)
  local waiting, running, last, last_ended = false, false, nil, -1
  local foreign = read_notes(task)
  for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    local stage = redis.pcall('HMGET', stage_key(task, node), 'state', 'ended')
    if stage.err then stage = { 'FAILED' } end
    if foreign[node] and not is_in_flight(stage[1]) then stage = { foreign[node].state } end
    if not stage[1] then
      call('ZREM', stages_key(task), node)
      call('ZREM', node_index_key(node), task)
    elseif stage[1] == 'RUNNING' then
      running = true
    elseif stage[1] == 'PENDING' then
      waiting = true
    else
      local ended = tonumber(stage[2]) or 0
      if ended >= last_ended then last, last_ended = TASK_STATUS[stage[1]] and stage[1] or 'FAILED', ended end
    end
  end
  local status = running and 'running' or waiting and 'pending' or last and TASK_STATUS[last]
  if not status then return delete_task(task) end
  set_task_status(task, status)
  if running or waiting then
    call('PERSIST', task_key(task))
    call('PERSIST', stages_key(task))
    call('ZREM', EXPIRY, task)
  else
    call('EXPIRE', task_key(task), args.ttl)
    -- A minute longer, so that its nodes are still known when the task is deleted.
    call('EXPIRE', stages_key(task), format_integer(tonumber(args.ttl) + 60))
    call('ZADD', EXPIRY, format_integer(NOW + tonumber(args.ttl) * 1000), task)
  end
end

-- Puts a stage into the indexes. A new task is created, as of `created` or now; `order` sorts the stages of the task.
-- Reads, writes: task_key (`created`). Writes: TASKS, stages_key, node_index_key.
local function index_stage(task, node, order, created)
  local since = created or format_integer(NOW)
  if call('HSETNX', task_key(task), 'created', since) == 1 then
    call('ZADD', TASKS, since, task)
  else
    since = call('HGET', task_key(task), 'created')
  end
  call('ZADD', stages_key(task), 'NX', order, node)
  call('ZADD', node_index_key(node), 'NX', tonumber(since) and since or format_integer(NOW), task)
end
