-- The task of stages: its status, its indexes, its expiry.

-- Deletes a task and removes it from the indexes. Its stages and deliveries are not deleted.
-- Reads, writes: task_key, stages_key, foreign_key. Writes: TASKS, EXPIRY, FOREIGN, status_index_key, node_index_key.
local function delete_task(task) -- rare
  local status = call('HGET', task_key(task), 'status')
  -- Without its hash nothing says in which index it is.
  for _, name in pairs(status and { status } or TASK_STATUS) do call('ZREM', status_index_key(name), task) end
  for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do call('ZREM', node_index_key(node), task) end
  for _, node in ipairs(call('HKEYS', foreign_key(task))) do call('ZREM', FOREIGN, stage_member(task, node)) end
  call('ZREM', TASKS, task)
  call('ZREM', EXPIRY, task)
  call('DEL', task_key(task), stages_key(task), foreign_key(task))
end

-- Moves a task from the index of one status to that of another one; `before` and `created` are what its hash has.
-- Writes: status_index_key.
local function move_task(task, before, status, created)
  if before == status then return end
  if before then call('ZREM', status_index_key(before), task) end
  call('ZADD', status_index_key(status), tonumber(created) and created or NOW_DIGITS, task)
end

-- Sets the status of a task, and moves it between the indexes. Answers the one that it had.
-- Reads, writes: task_key. Writes: status_index_key.
local function set_task_status(task, status)
  local known = call('HMGET', task_key(task), 'status', 'created')
  move_task(task, known[1], status, known[2])
  call('HSET', task_key(task), 'status', status, 'updated', NOW_DIGITS)
  return known[1]
end

-- Answers the status of a task: in flight, that of its runs, and otherwise that of its newest end; nil where it has no
-- stages. `notes` are those of the task by node; `node` and `record` may be a stage as it is, which is not read then.
-- Names of stages that do not exist are removed.
-- Reads: stage_key. Reads, writes: stages_key. Writes: node_index_key.
local function derive_task_status(task, notes, node, record)
  local waiting, running, last, last_ended = false, false, nil, -1
  for _, name in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    local state, ended
    if record and name == node then
      state, ended = record.state, record.ended
    else
      local stage = redis.pcall('HMGET', stage_key(task, name), 'state', 'ended')
      if stage.err then stage = { 'FAILED' } end
      state, ended = stage[1], stage[2]
    end
    if notes[name] and not is_in_flight(state) then state, ended = notes[name].state, nil end
    if not state then
      call('ZREM', stages_key(task), name)
      call('ZREM', node_index_key(name), task)
    elseif state == 'RUNNING' then
      running = true
    elseif state == 'PENDING' then
      waiting = true
    else
      ended = tonumber(ended) or 0
      if ended >= last_ended then last, last_ended = TASK_STATUS[state] and state or 'FAILED', ended end
    end
  end
  return running and 'running' or waiting and 'pending' or last and TASK_STATUS[last]
end

-- Whether runs of a task with this status wait or run.
local function is_status_in_flight(status) return status == 'pending' or status == 'running' end

-- Keeps a task whose runs wait or run from expiring.
-- Writes: task_key, stages_key, EXPIRY.
local function persist_task(task)
  call('PERSIST', task_key(task))
  call('PERSIST', stages_key(task))
  call('ZREM', EXPIRY, task)
end

-- Derives the status of a task from its stages and notes, and moves the task between the indexes. While a stage is in
-- flight the task does not expire; after that it does with its newest stage. A task without stages is deleted. `node`
-- and `record` may be the stage that has changed, which is not read then; what says already that the task is in flight
-- is then believed. `notes` may be those of the task by node, which are not read then.
-- Reads: stage_key, foreign_key. Reads, writes: task_key, stages_key. Writes: TASKS, EXPIRY, FOREIGN, status_index_key,
-- node_index_key. Arguments: ttl.
local function update_task_status(task, node, record, notes)
  local status = derive_task_status(task, notes or read_notes(task), node, record)
  if not status then return delete_task(task) end
  local before = set_task_status(task, status)
  if is_status_in_flight(status) then
    if not record or not is_status_in_flight(before) then persist_task(task) end
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
  local since = created or NOW_DIGITS
  if call('HSETNX', task_key(task), 'created', since) == 1 then
    call('ZADD', TASKS, since, task)
  else
    since = call('HGET', task_key(task), 'created')
  end
  call('ZADD', stages_key(task), 'NX', order, node)
  call('ZADD', node_index_key(node), 'NX', tonumber(since) and since or NOW_DIGITS, task)
end
