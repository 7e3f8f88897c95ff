-- Gives back the slot of a run whose processes have ended.
-- Arguments: task, name, run, attempt, owner, queue, measured? (bytes of files).
-- Answers 1 if the run held the slot, else 0.

local member = slot_member(args.task, args.name, args.run, args.attempt, args.owner)
local released = call('ZREM', slots_key(args.queue), member)
count_measured_bytes(args.task, args.measured)
return released
