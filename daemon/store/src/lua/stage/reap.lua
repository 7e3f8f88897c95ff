-- Takes back the runs of a queue whose lease has run out, or, with `owner`, those of a daemon that is known to
-- be gone. A run handed back by its own daemon as that ends does not count as lost. Arguments: queue, owner?,
-- handed_back?, lease_ms, max_lost, error, error_short (JSON). Answers how many were taken back, and how many of these
-- were lost once too often.

local members
if A.owner then
  members = call('ZRANGE', held_key(A.queue), 0, -1)
else
  -- After a pause in these looks (Redis, the machine or every daemon stood still) all leases have run out, whoever
  -- lives: the owners first get the time of a lease to say that their runs go on.
  local looked = call('HMGET', REAPER, 'at', 'since')
  local at, since, lease = tonumber(looked[1] or 0), tonumber(looked[2] or 0), tonumber(A.lease_ms)
  if NOW - at > lease / 2 or NOW < at then since = NOW end
  call('HSET', REAPER, 'at', int(NOW), 'since', int(since))
  if NOW - since < lease then return { 0, 0 } end
  -- A lease that ends later than any that is given was given before the clock was set back: whoever lives renews it, and of
  -- whoever does not it ends soon. Daemons may give leases of different lengths.
  local beyond = '(' .. int(NOW + 10 * lease)
  for _, member in ipairs(call('ZRANGEBYSCORE', held_key(A.queue), beyond, '+inf', 'LIMIT', 0, 100)) do
    call('ZADD', held_key(A.queue), int(NOW + lease), member)
  end
  members = call('ZRANGEBYSCORE', held_key(A.queue), '-inf', int(NOW), 'LIMIT', 0, 100)
end
local taken, given_up = 0, 0
if #members > 0 then begin() end
for _, member in ipairs(members) do
  local t, n, run, attempt, owner = string.match(member, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|(.+)$')
  if not A.owner or owner == A.owner then
    call('ZREM', held_key(A.queue), member)
    local r = load(t, n)
    if r and r.state == 'RUNNING' and r.run == run and r.attempt == attempt then
      taken = taken + 1
      local lost = tonumber(r.lost or 0) + (A.handed_back and 0 or 1)
      if lost >= tonumber(A.max_lost) then
        given_up = given_up + 1
        r.given_up = '1'
        call('HSET', stage_key(t, n), 'given_up', '1')
        end_run(t, n, r, 'FAILED', { error = A.error, error_short = A.error_short })
      else
        change(t, n, r, { state = 'PENDING', owner = false, lease = false, started = false, progress = false,
          message = false, lost = int(lost) })
        call('ZADD', queue_key(r.queue), r.qseq, queue_member(t, n))
        project(t, n, r)
        settle(t)
        emit(t, n, r, 'reaped')
      end
    end
  end
end
return { taken, given_up }
