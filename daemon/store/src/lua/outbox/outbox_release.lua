-- Makes the deliveries due now that a daemon had taken which has ended.
-- Arguments: owner.
-- Answers their number.

local held = call('HGETALL', OUTBOX_HELD)
local count = 0
if #held > 0 then require_writable() end
for position = 1, #held, 2 do
  if held[position + 1] == args.owner then
    call('HDEL', OUTBOX_HELD, held[position])
    local host = call('HGET', delivery_key(held[position]), 'host')
    if host and call('HGET', breaker_key(host), 'probe') then
      call('HDEL', breaker_key(host), 'until', 'wait', 'probe')
    end
    if host and call('ZSCORE', OUTBOX, held[position]) then
      schedule_delivery(held[position], host, NOW_DIGITS)
      count = count + 1
    end
  end
end
return count
