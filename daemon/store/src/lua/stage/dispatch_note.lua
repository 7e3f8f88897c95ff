-- Notes that the message of a run is in its queue, and which worker has it, as far as that is known: a later owner of the
-- run does not send it again, and every daemon can show where it runs.
-- Arguments: task, name, message (its id), worker? (host name).
-- Answers 1; 0 if the stage has another message by now, or none.

local key = stage_key(args.task, args.name)
if call('HGET', key, 'dispatch') ~= args.message then return 0 end
call('HSET', key, 'pushed', args.message)
if args.worker then call('HSET', key, 'worker', args.worker) end
return 1
