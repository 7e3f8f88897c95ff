-- Takes back the runs of a queue whose lease has run out, or, with `owner`, those of a daemon that has ended. A run
-- that is handed back by its own daemon does not count as lost, nor does one whose message is with a Celery worker: who
-- takes it next joins it there, in the same attempt.
-- Arguments: queue, owner?, handed_back?, lease_ms, max_lost, error, error_short (JSON), keep_runs (as for `finish`).
-- Answers {taken, given_up}: how many were taken back, and how many of these were lost once too often and are FAILED.

-- How an attempt that is taken back ended.
local HOW_LOST = args.handed_back and 'its daemon stopped and handed it back' or args.owner and 'its daemon ended'
  or 'its daemon was not heard of for a whole lease'

local members
if args.owner then
  members = call('ZRANGE', slots_key(args.queue), 0, -1)
else
  -- After a pause in these calls (Redis, the machine or every daemon stood still) all leases have run out, also those
  -- of living daemons: the owners first get the time of a lease to report that their runs go on.
  local last_call = call('HMGET', REAPER, 'at', 'since')
  local at, since, lease = tonumber(last_call[1] or 0), tonumber(last_call[2] or 0), tonumber(args.lease_ms)
  if NOW - at > lease / 2 or NOW < at then since = NOW end
  call('HSET', REAPER, 'at', NOW_DIGITS, 'since', format_integer(since))
  if NOW - since < lease then return { 0, 0 } end
  -- A lease that ends later than any can was given before the clock was set back: a living owner renews it, that of
  -- another one ends soon. Daemons may use leases of different lengths.
  local beyond = '(' .. format_integer(NOW + 10 * lease)
  for _, member in ipairs(call('ZRANGEBYSCORE', slots_key(args.queue), beyond, '+inf', 'LIMIT', 0, 100)) do
    call('ZADD', slots_key(args.queue), format_integer(NOW + lease), member)
  end
  members = call('ZRANGEBYSCORE', slots_key(args.queue), '-inf', NOW_DIGITS, 'LIMIT', 0, 100)
end
local taken, given_up = 0, 0
if #members > 0 then require_writable() end
for _, member in ipairs(members) do
  local task, node, run, attempt, owner = string.match(member, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|(.+)$')
  if not args.owner or owner == args.owner then
    call('ZREM', slots_key(args.queue), member)
    local record = load_record(task, node)
    if record and record.state == 'RUNNING' and record.run == run and record.attempt == attempt then
      taken = taken + 1
      local is_kept = args.handed_back or record.dispatch
      local lost = tonumber(record.lost or 0) + (is_kept and 0 or 1)
      if not is_kept and lost >= tonumber(args.max_lost) then
        given_up = given_up + 1
        record.given_up = '1'
        call('HSET', stage_key(task, node), 'given_up', '1')
        end_run(task, node, record, 'FAILED', { error = args.error, error_short = args.error_short })
      else
        return_run(task, node, record, { lost = format_integer(lost),
          started = record.dispatch and record.started or false,
          attempts = not record.dispatch and append_lost_attempt(record, HOW_LOST) or record.attempts })
      end
    end
  end
end
return { taken, given_up }
