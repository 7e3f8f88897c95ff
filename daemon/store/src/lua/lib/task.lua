-- The task of stages: its hash, its indexes, its bytes on disk.

-- Bytes of files. By task in DISK, in all under `disk` of STATS, and by attempt (its folder) in the task's hash, so that
-- one that is told twice counts once. What is in DISK stays when the task expires, until its files are removed.
local function count_disk(t, folder, bytes)
  local before = tonumber(call('HGET', task_key(t), 'disk:' .. folder) or 0)
  if bytes == before then return end
  if bytes > 0 then
    call('HSET', task_key(t), 'disk:' .. folder, int(bytes))
  else
    call('HDEL', task_key(t), 'disk:' .. folder)
  end
  if tonumber(call('HINCRBY', DISK, t, int(bytes - before))) <= 0 then call('HDEL', DISK, t) end
  call('HINCRBY', STATS, 'disk', int(bytes - before))
end

-- As the owner of a run has measured: pairs of folder and bytes. Not for a task that is gone.
local function measured(t, told)
  if not told or call('EXISTS', task_key(t)) == 0 then return end
  for _, pair in each(told) do count_disk(t, pair[1], pair[2]) end
end

-- The task's files are removed, or will be at once.
local function forget_disk(t)
  local bytes = call('HGET', DISK, t)
  if not bytes then return end
  call('HDEL', DISK, t)
  call('HINCRBY', STATS, 'disk', int(-tonumber(bytes)))
end

local function forget_task(t)
  local status = call('HGET', task_key(t), 'status')
  -- Where its hash is gone, nothing says where it stood.
  for _, one in pairs(status and { status } or TASK_STATUS) do call('ZREM', status_key(one), t) end
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do call('ZREM', node_key(n), t) end
  for _, n in ipairs(call('HKEYS', foreign_key(t))) do call('ZREM', FOREIGN, queue_member(t, n)) end
  call('ZREM', TASKS, t)
  call('ZREM', EXPIRY, t)
  call('DEL', task_key(t), stages_key(t), foreign_key(t))
end

-- Derives the task's status from its stages and moves the task between the indexes. While a stage is in
-- flight the task does not expire; after that it does when its newest stage does.
local function settle(t)
  local waiting, running, last, last_ended = false, false, nil, -1
  local foreign = all_noted(t)
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
    local s = redis.pcall('HMGET', stage_key(t, n), 'state', 'ended')
    if s.err then s = { 'FAILED' } end
    if foreign[n] and not in_flight(s[1]) then s = { foreign[n].state } end
    if not s[1] then
      call('ZREM', stages_key(t), n)
      call('ZREM', node_key(n), t)
    elseif s[1] == 'RUNNING' then
      running = true
    elseif s[1] == 'PENDING' then
      waiting = true
    else
      local ended = tonumber(s[2]) or 0
      if ended >= last_ended then last, last_ended = TASK_STATUS[s[1]] and s[1] or 'FAILED', ended end
    end
  end
  local status = running and 'running' or waiting and 'pending' or last and TASK_STATUS[last]
  if not status then return forget_task(t) end
  local before = call('HMGET', task_key(t), 'status', 'created')
  if before[1] ~= status then
    if before[1] then call('ZREM', status_key(before[1]), t) end
    call('ZADD', status_key(status), tonumber(before[2]) and before[2] or int(NOW), t)
  end
  call('HSET', task_key(t), 'status', status, 'updated', int(NOW))
  if running or waiting then
    call('PERSIST', task_key(t))
    call('PERSIST', stages_key(t))
    call('ZREM', EXPIRY, t)
  else
    call('EXPIRE', task_key(t), A.ttl)
    -- So much longer that it is known where the task has to be forgotten.
    call('EXPIRE', stages_key(t), int(tonumber(A.ttl) + 60))
    call('ZADD', EXPIRY, int(NOW + tonumber(A.ttl) * 1000), t)
  end
end

-- Puts the stage into the indexes of its task; the task is made when it is new, as of `created` or now.
local function index_stage(t, n, order, created)
  created = created or int(NOW)
  if call('HSETNX', task_key(t), 'created', created) == 1 then call('ZADD', TASKS, created, t) end
  call('ZADD', stages_key(t), 'NX', order, n)
  local since = call('HGET', task_key(t), 'created')
  call('ZADD', node_key(n), 'NX', tonumber(since) and since or int(NOW), t)
end
