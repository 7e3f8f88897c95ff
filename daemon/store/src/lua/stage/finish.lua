-- Ends a run as its owner reports it, if the run still owns the stage (R7): state, output, expiry, outbox and event
-- together. The slot is given back in any case. A success that is reported again, because the first answer was lost, is
-- 'ok' again. With `slots` the owner takes the next run of the queue in the same step.
-- Arguments: task, name, run, attempt, owner, queue, measured? (bytes of files), outcome (SUCCESS or FAILED), and
--   of a success: output, reusable, artifacts, warnings? (how many the output has), retryable? (one of them says that
--   running again could give a better result), in_files?, in_sources? (what the result was made from), upload? (id of the
--   data directory whose daemon takes its files to the object store);
--   of a failure: error, error_short (JSON);
--   of both: took? (the stages that it took from, as a JSON array, where in_sources does not have them), keep_runs (how
--   many earlier runs of a stage are kept);
--   to take the next run: slots?, lease_ms?, running? (what the owner runs of this queue, the run that ends included:
--   members of slots_key, as a JSON array).
-- Answers {'ok' or 'lost', next}: the second is what `claim` answers; nil where no run was to be taken.

local task, node = args.task, args.name

-- Ends the run. Answers 'ok' or 'lost'.
local function finish_run()
  local record = load_record(task, node)
  local owns = record and record.run == args.run and record.attempt == args.attempt
  -- It was given up as lost, but not started again: the result is as good as one that came in time.
  local waits = owns and record.state == 'PENDING'
  require_writable()
  if waits then call('ZREM', queue_key(record.queue), stage_member(task, node)) end
  call('ZREM', slots_key(args.queue), slot_member(task, node, args.run, args.attempt, args.owner))
  if args.measured then count_measured_bytes(task, args.measured) end
  if record and args.outcome == 'SUCCESS' and record.res_run == args.run and record.res_attempt == args.attempt then
    if record.state == 'SUCCESS' and call('PTTL', stage_key(task, node)) == -1 then complete_end(task, node, record) end
    return 'ok'
  end
  if not owns or not (waits or (record.state == 'RUNNING' and record.owner == args.owner)) then return 'lost' end
  -- A message whose result counts has ended. Whether another one has is found out before it is forgotten.
  if args.outcome == 'SUCCESS' and record.dispatch then call('HDEL', DISPATCHES, record.dispatch) end
  end_run(task, node, record, args.outcome, { output = args.output, reusable = args.reusable, warnings = args.warnings,
    retryable = args.retryable, artifacts = args.artifacts, in_files = args.in_files,
    in_sources = args.in_sources, error = args.error,
    error_short = args.error_short, upload = args.upload, took = args.took })
  if args.outcome == 'SUCCESS' and args.upload then
    call('ZADD', uploads_key(args.upload), NOW_DIGITS, upload_member(task, node, args.run, args.attempt))
    -- Nothing is uploaded that is older than any result.
    call('EXPIRE', uploads_key(args.upload), args.ttl)
  end
  return 'ok'
end

local finished = finish_run()
if not args.slots then return { finished, false } end
-- What is damaged of another task or of the queue does not keep the end from its owner: `claim` reports it.
local is_read, claimed = pcall(claim_runs, 1)
return { finished, is_read and claimed }
