-- Runs of a task that still hold a slot, their processes not known to be gone. Arguments: task, queues. Answers the number.

local count = 0
for _, queue in each(A.queues) do
  for _, member in ipairs(call('ZRANGE', held_key(queue), 0, -1)) do
    if string.sub(member, 1, #A.task + 1) == A.task .. '|' then count = count + 1 end
  end
end
return count
