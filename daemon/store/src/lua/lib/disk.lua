-- Bytes of files: by task in DISK, in total under `disk` of STATS, and by attempt (its folder) in the task's hash, so
-- that an attempt that is reported twice counts once. What is in DISK stays when the task expires, until its files are
-- removed.

-- Sets the bytes of an attempt's folder, which are counted as `before` so far.
-- Reads, writes: DISK. Writes: task_key (`disk:<folder>`), STATS.
local function count_disk_bytes(task, folder, bytes, before)
  if bytes == before then return end
  if bytes > 0 then
    call('HSET', task_key(task), 'disk:' .. folder, format_integer(bytes))
  else
    call('HDEL', task_key(task), 'disk:' .. folder)
  end
  if tonumber(call('HINCRBY', DISK, task, format_integer(bytes - before))) <= 0 then call('HDEL', DISK, task) end
  call('HINCRBY', STATS, 'disk', format_integer(bytes - before))
end

-- Sets the bytes that the owner of a run has measured: a JSON array of pairs of folder and bytes, or nil. Does nothing
-- for a task that does not exist any more.
-- Reads, writes: task_key (`disk:<folder>`), DISK. Writes: STATS.
local function count_measured_bytes(task, measured) -- rare
  if not measured then return end
  for _, pair in iterate_list(measured) do
    local known = call('HMGET', task_key(task), 'created', 'disk:' .. pair[1])
    if known[1] then count_disk_bytes(task, pair[1], pair[2], tonumber(known[2] or 0)) end
  end
end

-- Stops counting the files of a task, which are removed or are about to be.
-- Reads, writes: DISK. Writes: STATS.
local function delete_disk_count(task)
  local bytes = call('HGET', DISK, task)
  if not bytes then return end
  call('HDEL', DISK, task)
  call('HINCRBY', STATS, 'disk', format_integer(-tonumber(bytes)))
end
