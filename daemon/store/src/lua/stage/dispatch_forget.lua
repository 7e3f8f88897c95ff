-- Forgets a message that has ended or is nowhere, once no record names it.
-- Arguments: task, name, message (its id).
-- Answers 1 if it was forgotten, else 0.

if call('HGET', stage_key(args.task, args.name), 'dispatch') == args.message then return 0 end
return call('HDEL', DISPATCHES, args.message)
