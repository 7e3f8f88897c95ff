-- Takes deliveries that are due and holds them for `hold_ms`, after which another daemon may. Arguments: limit,
-- hold_ms. Answers {time of the next one due or -1, {id, delivery, ...}}.

local taken = {}
for _, id in ipairs(call('ZRANGEBYSCORE', OUTBOX, '-inf', int(NOW), 'LIMIT', 0, tonumber(A.limit))) do
  if call('EXISTS', delivery_key(id)) == 1 then
    call('ZADD', OUTBOX, int(NOW + tonumber(A.hold_ms)), id)
    call('HINCRBY', delivery_key(id), 'attempts', 1)
    taken[#taken + 1] = id
    taken[#taken + 1] = call('HGETALL', delivery_key(id))
  else
    call('ZREM', OUTBOX, id)
  end
end
local next = call('ZRANGE', OUTBOX, 0, 0, 'WITHSCORES')
return { next[2] and (tonumber(next[2]) - NOW) or -1, taken }
