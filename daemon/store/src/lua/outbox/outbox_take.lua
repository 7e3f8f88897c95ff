-- Takes deliveries that are due and holds them for `hold_ms`, after which another daemon may. Hosts come least recently
-- served first, each gets one place before any gets a second, and one that does not answer has one place or, while its
-- breaker is open, none. Arguments: free (places), places (in all), per_host (of them for one host), busy (what this daemon
-- has under way, numbers by host as JSON), breaker_after (failures in a row that open a breaker), hold_ms, longest_ms
-- (nothing is due later than that from now), owner. Answers {milliseconds until more may be due or -1, {id, delivery, ...}}.

local free, per_host, half = tonumber(A.free), tonumber(A.per_host), math.max(1, math.floor(tonumber(A.places) / 2))
local hold, after = tonumber(A.hold_ms), tonumber(A.breaker_after)
local busy = cjson.decode(A.busy)

-- What is due later than anything can be was put there before the clock was set back: it is due now.
local beyond = '(' .. int(NOW + tonumber(A.longest_ms))
for _, id in ipairs(call('ZRANGEBYSCORE', OUTBOX, beyond, '+inf', 'LIMIT', 0, 100)) do
  local host = call('HGET', delivery_key(id), 'host')
  if host then
    call('HSET', delivery_key(id), 'next', int(NOW))
    schedule(id, host, int(NOW))
  else
    unschedule(id, nil)
  end
end
for _, host in ipairs(call('ZRANGEBYSCORE', OUTBOX_HOSTS, beyond, '+inf', 'LIMIT', 0, 100)) do due_at_host(host) end

local function failures_of(host) return tonumber(call('HGET', breaker_key(host), 'failures') or 0) end

-- Under way here, and of that at hosts that did not answer last.
local under_way, slow, busy_hosts = 0, 0, 0
for host, count in pairs(busy) do
  under_way = under_way + count
  busy_hosts = busy_hosts + 1
  if failures_of(host) > 0 then slow = slow + count end
end

local candidates = {}
for _, host in ipairs(call('ZRANGEBYSCORE', OUTBOX_HOSTS, '-inf', int(NOW), 'LIMIT', 0, free + busy_hosts + 256)) do
  local has, failures = busy[host] or 0, failures_of(host)
  local share = failures > 0 and 1 or per_host
  if has < share then
    local due = call('ZRANGEBYSCORE', host_outbox_key(host), '-inf', int(NOW), 'LIMIT', 0, math.min(share - has, free))
    candidates[#candidates + 1] = { host = host, has = has, failures = failures, due = due, nth = 0 }
  end
end

local taken, served = {}, {}
local function take(id, one)
  if call('EXISTS', delivery_key(id)) == 0 then return unschedule(id, one.host) end
  if not served[one.host] then
    served[one.host] = true
    call('HSET', breaker_key(one.host), 'served', int(NOW))
    call('PEXPIRE', breaker_key(one.host), 7200000)
    -- A single try shows whether it answers again; until that has ended, nobody else tries.
    if one.failures >= after then call('HSET', breaker_key(one.host), 'until', int(NOW + hold), 'wait', int(hold), 'probe', '1') end
  end
  schedule(id, one.host, int(NOW + hold))
  call('HINCRBY', delivery_key(id), 'take', 1)
  call('HSET', OUTBOX_HELD, id, A.owner)
  taken[#taken + 1] = id
  taken[#taken + 1] = delivery_to_send(id)
  one.has = one.has + 1
  free = free - 1
  under_way = under_way + 1
  if one.failures > 0 then slow = slow + 1 end
end

for _ = 1, per_host do
  for _, one in ipairs(candidates) do
    local more = one.due[one.nth + 1]
    -- A second place of a host, or one of a host that does not answer, is one of the first half.
    local has_room = (one.has == 0 or under_way < half) and (one.failures == 0 or slow < half)
    if more and free > 0 and has_room then
      one.nth = one.nth + 1
      take(more, one)
    end
  end
end

local later = call('ZRANGEBYSCORE', OUTBOX_HOSTS, '(' .. int(NOW), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { later[2] and math.ceil(tonumber(later[2]) - NOW) or -1, taken }
