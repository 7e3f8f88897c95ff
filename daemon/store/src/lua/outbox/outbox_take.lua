-- Takes deliveries that are due and holds them for `hold_ms`, after which another daemon may take them. Hosts come
-- least recently served first, each gets one place before any gets a second, and a host that does not answer has one
-- place or, while its breaker is open, none.
-- Arguments: places (how many deliveries may be under way), free (of these), per_host (most of them for one host), busy
-- (deliveries that this daemon has under way, numbers by host as JSON), breaker_after (silences in a row that open a
-- breaker), hold_ms, longest_ms (nothing is due later than that from now), owner.
-- Answers {milliseconds until more may be due or -1, {id, {field, value, ...}, ...}}.

local free, per_host = tonumber(args.free), tonumber(args.per_host)
local half = math.max(1, math.floor(tonumber(args.places) / 2))
local hold, after = tonumber(args.hold_ms), tonumber(args.breaker_after)
local busy = cjson.decode(args.busy)

-- What is due later than anything can be was put there before the clock was set back: it is due now.
local beyond = '(' .. format_integer(NOW + tonumber(args.longest_ms))
for _, id in ipairs(call('ZRANGEBYSCORE', OUTBOX, beyond, '+inf', 'LIMIT', 0, 100)) do
  local host = call('HGET', delivery_key(id), 'host')
  if host then
    call('HSET', delivery_key(id), 'next', NOW_DIGITS)
    schedule_delivery(id, host, NOW_DIGITS)
  else
    unschedule_delivery(id, nil)
  end
end
for _, host in ipairs(call('ZRANGEBYSCORE', OUTBOX_HOSTS, beyond, '+inf', 'LIMIT', 0, 100)) do reschedule_host(host) end

-- Answers how often in a row a host did not answer.
local function read_failures(host) return tonumber(call('HGET', breaker_key(host), 'failures') or 0) end

-- Deliveries that are under way here, those of them at hosts that did not answer last, and the number of hosts.
local under_way, slow, busy_hosts = 0, 0, 0
for host, count in pairs(busy) do
  under_way = under_way + count
  busy_hosts = busy_hosts + 1
  if read_failures(host) > 0 then slow = slow + count end
end

local candidates = {}
local most_hosts = free + busy_hosts + 256
for _, host in ipairs(call('ZRANGEBYSCORE', OUTBOX_HOSTS, '-inf', NOW_DIGITS, 'LIMIT', 0, most_hosts)) do
  local has, failures = busy[host] or 0, read_failures(host)
  local share = failures > 0 and 1 or per_host
  if has < share then
    local most = math.min(share - has, free)
    local due = call('ZRANGEBYSCORE', host_outbox_key(host), '-inf', NOW_DIGITS, 'LIMIT', 0, most)
    candidates[#candidates + 1] = { host = host, under_way = has, failures = failures, due = due, taken = 0 }
  end
end

local taken, served = {}, {}
-- Takes one delivery of a candidate.
local function take_delivery(id, candidate)
  if call('EXISTS', delivery_key(id)) == 0 then return unschedule_delivery(id, candidate.host) end
  if not served[candidate.host] then
    served[candidate.host] = true
    call('HSET', breaker_key(candidate.host), 'served', NOW_DIGITS)
    call('PEXPIRE', breaker_key(candidate.host), 7200000)
    -- A single try, the probe, shows whether the host answers again; until it has ended, no other is taken.
    if candidate.failures >= after then
      call('HSET', breaker_key(candidate.host), 'until', format_integer(NOW + hold), 'wait', format_integer(hold),
        'probe', '1')
    end
  end
  schedule_delivery(id, candidate.host, format_integer(NOW + hold))
  call('HINCRBY', delivery_key(id), 'take', 1)
  call('HSET', OUTBOX_HELD, id, args.owner)
  taken[#taken + 1] = id
  taken[#taken + 1] = read_delivery_to_send(id)
  candidate.under_way = candidate.under_way + 1
  free = free - 1
  under_way = under_way + 1
  if candidate.failures > 0 then slow = slow + 1 end
end

for _ = 1, per_host do
  for _, candidate in ipairs(candidates) do
    local id = candidate.due[candidate.taken + 1]
    -- The second half of the places is only for the first delivery of a host that answers.
    local has_room = (candidate.under_way == 0 or under_way < half) and (candidate.failures == 0 or slow < half)
    if id and free > 0 and has_room then
      candidate.taken = candidate.taken + 1
      take_delivery(id, candidate)
    end
  end
end

local later = call('ZRANGEBYSCORE', OUTBOX_HOSTS, '(' .. NOW_DIGITS, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
return { later[2] and math.ceil(tonumber(later[2]) - NOW) or -1, taken }
