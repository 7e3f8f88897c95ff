-- The outbox. A delivery that is pending is in OUTBOX and in the outbox of its host, by the time at which it is due;
-- the hosts are in OUTBOX_HOSTS by the earliest of theirs, so that a host with many deliveries does not delay the
-- others.

-- Answers until when a host is left alone, or 0, from `until` and `wait` of its breaker. An end that is later than its
-- wait allows was set by another clock, and does not count.
local function compute_breaker_end(open_until, wait)
  open_until = tonumber(open_until or 0)
  if open_until <= NOW or open_until - NOW > tonumber(wait or 0) then return 0 end
  return open_until
end

-- Adds `breaker_until` to the fields (a flat list) of a delivery that waits for its host's breaker.
-- Reads: breaker_key.
local function append_breaker_end(fields, state, host)
  if state ~= 'pending' or not host then return end
  local breaker = call('HMGET', breaker_key(host), 'until', 'wait')
  local open_until = compute_breaker_end(breaker[1], breaker[2])
  if open_until > 0 then
    fields[#fields + 1] = 'breaker_until'
    fields[#fields + 1] = format_integer(open_until)
  end
end

-- Sorts a host among the others: by its earliest delivery, after the hosts that were served longer ago, and not before
-- its breaker lets a try through. A host without deliveries is removed.
-- Reads: host_outbox_key. Reads, writes: breaker_key. Writes: OUTBOX_HOSTS.
local function reschedule_host(host)
  local first = call('ZRANGE', host_outbox_key(host), 0, 0, 'WITHSCORES')
  local breaker = call('HMGET', breaker_key(host), 'failures', 'until', 'wait', 'served')
  if not first[1] then
    call('ZREM', OUTBOX_HOSTS, host)
    if not breaker[1] then call('DEL', breaker_key(host)) end
    return
  end
  local served = tonumber(breaker[4] or 0)
  if served > NOW then served = 0 end
  local due = math.max(tonumber(first[2]), compute_breaker_end(breaker[2], breaker[3]), served)
  call('ZADD', OUTBOX_HOSTS, format_integer(due), host)
end

-- Makes a delivery due at a time.
-- Reads: breaker_key. Writes: OUTBOX, host_outbox_key, OUTBOX_HOSTS.
local function schedule_delivery(id, host, at)
  call('ZADD', OUTBOX, at, id)
  call('ZADD', host_outbox_key(host), at, id)
  reschedule_host(host)
end

-- Takes a delivery out of the outbox; `host` is nil where it is not known.
-- Reads: breaker_key. Writes: OUTBOX, OUTBOX_HELD, host_outbox_key, OUTBOX_HOSTS.
local function unschedule_delivery(id, host)
  call('ZREM', OUTBOX, id)
  call('HDEL', OUTBOX_HELD, id)
  if host then
    call('ZREM', host_outbox_key(host), id)
    reschedule_host(host)
  end
end
