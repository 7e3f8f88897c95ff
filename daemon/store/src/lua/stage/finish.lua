-- Ends a run as its owner saw it end, if the run still owns the stage (R7): state, output, expiry, outbox and
-- event together. Arguments: task, name, run, attempt, owner, queue, outcome, output?, reusable?, warnings? (how many the
-- output has), retryable? (one says that running again could give a better result), artifacts?,
-- in_files?, in_sources? (what it was made from), error?, error_short?, measured?, upload? (id of the data directory whose
-- daemon takes its files to the object store).
-- Answers 'ok' or 'lost'. The slot is given back in any case. A success that is told again, because
-- the first answer was lost, is 'ok' again.

local t, n = A.task, A.name
local r = load(t, n)
local owns = r and r.run == A.run and r.attempt == A.attempt
-- Given up as lost, but nobody has started it again: the result is as good as on time.
local waits = owns and r.state == 'PENDING'
begin()
if waits then call('ZREM', queue_key(r.queue), queue_member(t, n)) end
call('ZREM', held_key(A.queue), held_member(t, n, A.run, A.attempt, A.owner))
measured(t, A.measured)
if r and A.outcome == 'SUCCESS' and r.res_run == A.run and r.res_attempt == A.attempt then
  if r.state == 'SUCCESS' and call('PTTL', stage_key(t, n)) == -1 then complete_end(t, n, r) end
  return 'ok'
end
if not owns or not (waits or (r.state == 'RUNNING' and r.owner == A.owner)) then return 'lost' end
end_run(t, n, r, A.outcome, { output = A.output, reusable = A.reusable, warnings = A.warnings,
  retryable = A.retryable, artifacts = A.artifacts, in_files = A.in_files,
  in_sources = A.in_sources, error = A.error,
  error_short = A.error_short, upload = A.upload })
if A.outcome == 'SUCCESS' and A.upload then
  call('ZADD', uploads_key(A.upload), int(NOW), upload_member(t, n, A.run, A.attempt))
  -- What is older than any result is taken to the store no more.
  call('EXPIRE', uploads_key(A.upload), A.ttl)
end
return 'ok'
