-- Takes deliveries that are due and holds them for `hold_ms`, after which another daemon may. Arguments: limit,
-- per_host (how many one host may have under way), busy (what this daemon has under way, `host=n host=n`), hold_ms,
-- owner. Answers {milliseconds until the next one is due at a host that is not full or -1, {id, delivery, ...}}.

local limit, per_host = tonumber(A.limit), tonumber(A.per_host)
local busy, full = {}, 0
for host, count in string.gmatch(A.busy, '([^ =]+)=(%d+)') do
  busy[host] = tonumber(count)
  if busy[host] >= per_host then full = full + 1 end
end

local taken, count, next = {}, 0, -1
local function may_be_next(score)
  local wait = math.max(0, tonumber(score) - NOW)
  if next < 0 or wait < next then next = wait end
end

-- Each host that is not full gives at least one, so this reaches past the full ones.
local hosts = call('ZRANGE', OUTBOX_HOSTS, 0, limit + full, 'WITHSCORES')
for i = 1, #hosts, 2 do
  local host = hosts[i]
  local free = per_host - (busy[host] or 0)
  if free > 0 then
    if tonumber(hosts[i + 1]) > NOW or count >= limit then
      may_be_next(hosts[i + 1])
      break
    end
    local due = call('ZRANGEBYSCORE', host_outbox_key(host), '-inf', int(NOW), 'LIMIT', 0, math.min(free, limit - count))
    for _, id in ipairs(due) do
      if call('EXISTS', delivery_key(id)) == 1 then
        schedule(id, host, int(NOW + tonumber(A.hold_ms)))
        call('HINCRBY', delivery_key(id), 'take', 1)
        call('HSET', OUTBOX_HELD, id, A.owner)
        taken[#taken + 1] = id
        taken[#taken + 1] = call('HGETALL', delivery_key(id))
        count = count + 1
        free = free - 1
      else
        unschedule(id, host)
      end
    end
    local first = call('ZRANGE', host_outbox_key(host), 0, 0, 'WITHSCORES')
    if first[1] and free > 0 then may_be_next(first[2]) end
  end
end
return { next, taken }
