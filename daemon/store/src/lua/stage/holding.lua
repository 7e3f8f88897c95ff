-- Counts the runs of a task that still hold a slot: their processes may not have ended.
-- Arguments: task, queues (a list).
-- Answers the number.

local count = 0
for _, queue in iterate_list(args.queues) do
  for _, member in ipairs(call('ZRANGE', slots_key(queue), 0, -1)) do
    if string.sub(member, 1, #args.task + 1) == args.task .. '|' then count = count + 1 end
  end
end
return count
