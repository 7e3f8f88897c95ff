-- Gives back what a daemon took that is known to be gone, to be tried now. Arguments: owner. Answers the number.

local held = call('HGETALL', OUTBOX_HELD)
local count = 0
if #held > 0 then begin() end
for i = 1, #held, 2 do
  if held[i + 1] == A.owner then
    call('HDEL', OUTBOX_HELD, held[i])
    local host = call('HGET', delivery_key(held[i]), 'host')
    if host and call('HGET', breaker_key(host), 'probe') then call('HDEL', breaker_key(host), 'until', 'wait', 'probe') end
    if host and call('ZSCORE', OUTBOX, held[i]) then
      schedule(held[i], host, int(NOW))
      count = count + 1
    end
  end
end
return count
