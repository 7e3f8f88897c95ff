-- One queue. Arguments: queue. Answers {running, pending, member, ...}: the next 100.

return { call('ZCARD', held_key(A.queue)), call('ZCARD', queue_key(A.queue)), call('ZRANGE', queue_key(A.queue), 0, 99) }
