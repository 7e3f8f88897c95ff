-- Journals the message that is about to be sent to Celery workers for a run: in the record, so that every later owner of
-- the run knows it, and beside it, with what is needed to find it. A call that is repeated answers the same.
-- Arguments: task, name, run, attempt, owner, message (its id), entry (JSON).
-- Answers 1; 0 if the run has lost its stage, or has another message.

local task, node = args.task, args.name
local record = read_fields(task, node, { 'state', 'run', 'attempt', 'owner', 'dispatch' })
if not is_owned(record) then return 0 end
if record.dispatch and record.dispatch ~= args.message then return 0 end
call('HSET', DISPATCHES, args.message, args.entry)
-- What was noted of the message of an earlier attempt does not count for this one.
if not record.dispatch then call('HDEL', stage_key(task, node), 'pushed', 'worker') end
call('HSET', stage_key(task, node), 'dispatch', args.message, 'sent', NOW_DIGITS)
return 1
