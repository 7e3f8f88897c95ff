-- Reads one queue.
-- Arguments: queue.
-- Answers {running, pending, {task|name, ...}}, the last of the next 100.

local key = queue_key(args.queue)
return { call('ZCARD', slots_key(args.queue)), call('ZCARD', key), call('ZRANGE', key, 0, 99) }
