-- What can be measured, at a cost that does not depend on how much is stored. Arguments: queues.
-- Answers {waiting callbacks, bytes of tasks' files, running, pending, milliseconds the next one has waited, ...}.

local out = { call('ZCARD', OUTBOX), math.max(0, tonumber(call('HGET', STATS, 'disk') or 0)) }
for _, q in each(A.queues) do
  local waited = 0
  local member = call('ZRANGE', queue_key(q), 0, 0)[1]
  if member then
    local t, n = string.match(member, '^([^|]+)|(.+)$')
    local queued = call('HGET', stage_key(t, n), 'queued')
    if queued then waited = math.max(0, NOW - tonumber(queued)) end
  end
  out[#out + 1] = call('ZCARD', held_key(q))
  out[#out + 1] = call('ZCARD', queue_key(q))
  out[#out + 1] = waited
end
return out
