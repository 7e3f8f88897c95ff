-- Files were removed that nobody needs any more. Arguments: task, folder? and bytes (of one attempt; left out, all of the
-- task's).

local t = A.task
if not A.folder then
  forget_disk(t)
elseif call('HEXISTS', task_key(t), 'disk:' .. A.folder) == 1 then
  count_disk(t, A.folder, 0)
else
  -- Of an earlier life of the task, whose hash has expired, or never measured because its daemon was lost: at most what is
  -- counted for no attempt that is known.
  local rest = tonumber(call('HGET', DISK, t) or 0)
  local task = call('HGETALL', task_key(t))
  for i = 1, #task, 2 do
    if string.sub(task[i], 1, 5) == 'disk:' then rest = rest - tonumber(task[i + 1]) end
  end
  local gone = math.max(0, math.min(rest, tonumber(A.bytes)))
  if gone > 0 then
    if tonumber(call('HINCRBY', DISK, t, int(-gone))) <= 0 then call('HDEL', DISK, t) end
    call('HINCRBY', STATS, 'disk', int(-gone))
  end
end
return 1
