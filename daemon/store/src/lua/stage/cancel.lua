-- Cancels the stages of a task that are in flight, or one of them. A running stage keeps its slot until its owner has
-- ended the processes.
-- Arguments: task, name?, keep_runs (as for `finish`).
-- Answers {known, {name, ...}}: whether the task exists, and the stages that were cancelled.

local task = args.task
local cancelled = {}
local known = call('EXISTS', task_key(task))
for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
  if not args.name or args.name == node then
    local record = load_record(task, node)
    if record and is_in_flight(record.state) then
      require_writable()
      call('ZREM', queue_key(record.queue), stage_member(task, node))
      end_run(task, node, record, 'CANCELLED', {})
      cancelled[#cancelled + 1] = node
    end
  end
end
return { known, cancelled }
