-- Reads what metrics show, at a cost that does not depend on how much is stored.
-- Arguments: queues (a list).
-- Answers {waiting callbacks, bytes of tasks' files, running, pending, milliseconds that the next run has waited, ...},
-- the last three for each queue.

local reply = { call('ZCARD', OUTBOX), math.max(0, tonumber(call('HGET', STATS, 'disk') or 0)) }
for _, queue in iterate_list(args.queues) do
  reply[#reply + 1] = call('ZCARD', slots_key(queue))
  reply[#reply + 1] = call('ZCARD', queue_key(queue))
  reply[#reply + 1] = read_wait_of_next(queue)
end
return reply
