-- Stops counting files that were removed.
-- Arguments: task; folder? and bytes? of one attempt, omitted for all files of the task.

local task = args.task
local counted = args.folder and call('HGET', task_key(task), 'disk:' .. args.folder)
if not args.folder then
  delete_disk_count(task)
elseif counted then
  count_disk_bytes(task, args.folder, 0, tonumber(counted))
else
  -- An attempt of a task whose hash has expired since, or that was never measured because its daemon was lost: at most what
  -- is counted for no known attempt.
  local rest = tonumber(call('HGET', DISK, task) or 0)
  local task_hash = call('HGETALL', task_key(task))
  for position = 1, #task_hash, 2 do
    if string.sub(task_hash[position], 1, 5) == 'disk:' then rest = rest - tonumber(task_hash[position + 1]) end
  end
  local removed = math.max(0, math.min(rest, tonumber(args.bytes)))
  if removed > 0 then
    if tonumber(call('HINCRBY', DISK, task, format_integer(-removed))) <= 0 then call('HDEL', DISK, task) end
    call('HINCRBY', STATS, 'disk', format_integer(-removed))
  end
end
return 1
