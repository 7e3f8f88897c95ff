-- Gives the slot of a run back whose processes are gone. Arguments: task, name, run, attempt, owner, queue, measured?.

measured(A.task, A.measured)
return call('ZREM', held_key(A.queue), held_member(A.task, A.name, A.run, A.attempt, A.owner))
