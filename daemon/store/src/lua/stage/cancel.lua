-- Cancels what is in flight under a task, or one stage of it. Arguments: task, name?. Answers
-- {known, name, ...}: whether the task is known, and the stages cancelled. A running stage keeps its slot until
-- its owner has ended the processes.

local t = A.task
local done = {}
local known = call('EXISTS', task_key(t))
for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
  if not A.name or A.name == n then
    local r = load(t, n)
    if r and in_flight(r.state) then
      begin()
      call('ZREM', queue_key(r.queue), queue_member(t, n))
      end_run(t, n, r, 'CANCELLED', {})
      done[#done + 1] = n
    end
  end
end
return { known, done }
