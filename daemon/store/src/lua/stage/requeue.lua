-- Gives a run back to a queue, as its owner asks: the worker that had its message was lost, or it is to go on elsewhere.
-- It waits as the next attempt.
-- Arguments: task, name, run, attempt, owner, queue, to (the queue that it waits in), runner (of that queue), how (why the
-- attempt ended, as the inside of a JSON string), measured? (bytes of files).
-- Answers 'ok' or 'lost'.

local task, node = args.task, args.name
local record = load_record(task, node)
require_writable()
call('ZREM', slots_key(args.queue), slot_member(task, node, args.run, args.attempt, args.owner))
count_measured_bytes(task, args.measured)
if not is_owned(record) or record.damage then return 'lost' end
return_run(task, node, record, { started = false, dispatch = false, queue = args.to, runner = args.runner,
  attempts = append_lost_attempt(record, args.how) })
return 'ok'
