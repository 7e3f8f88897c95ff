-- Gives the slot of a run back whose processes are gone. Arguments: task, name, run, attempt, owner, queue, measured?.

local released = call('ZREM', held_key(A.queue), held_member(A.task, A.name, A.run, A.attempt, A.owner))
measured(A.task, A.measured)
return released
