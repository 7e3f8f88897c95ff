-- How a run ends. Included in every script, after outbox.

-- The task shows its newest request; the input of that only where it is not the stage's, as when that is about to get
-- another one.
local function keep_request(t, n, r)
  local request = call('HMGET', task_key(t), 'newest', 'req_input')
  if request[1] == n and not request[2] then call('HSET', task_key(t), 'req_input', public_input(r)) end
end

-- Ends the run the record speaks of. `outcome` is SUCCESS, FAILED or CANCELLED; for the last two a success
-- that a forced rerun was to replace stands again (R8). The caller has checked that the run owns the stage.
local function end_run(t, n, r, outcome, given)
  local started = tonumber(r.started or NOW)
  local duration = int(math.max(0, NOW - started))
  local fields = { state = outcome, ended = int(NOW), duration_ms = duration, owner = false, lease = false,
    message = false, restore = false }
  local kind
  if outcome == 'SUCCESS' then
    kind = 'succeeded'
    fields.progress = '100'
    fields.error = false
    fields.error_short = false
    fields.last_attempt = false
    fields.res_input = false
    fields.res_input_pub = false
    fields.res_run = r.run
    fields.res_attempt = r.attempt
    fields.res_started = int(started)
    fields.res_ended = int(NOW)
    fields.res_duration_ms = duration
    fields.res_fp = r.fp or false
    fields.res_in_files = given.in_files or false
    fields.res_in_sources = given.in_sources or false
    fields.res_output = given.output
    fields.res_reusable = given.reusable
    fields.res_warnings = given.warnings or false
    fields.res_retryable = given.retryable or false
    fields.res_artifacts = given.artifacts
    fields.res_runner = r.runner or false
    fields.res_files = false
    fields.upload = given.upload or false
    fields.uploaded = false
  else
    kind = outcome == 'FAILED' and 'failed' or 'cancelled'
    fields.error = given.error or false
    fields.error_short = given.error_short or false
  end
  local stands = r.restore == '1' and outcome ~= 'SUCCESS'
  if fields.upload and r.run_callback_status then
    fields.awaits_upload = '1'
    await_upload(t, n)
  end
  if outcome == 'SUCCESS' and r.restore == '1' then keep_end(result_end(t, n, r)) end
  change(t, n, r, fields)
  if r.awaits_upload == '1' then
    call('EXPIRE', callbacks_key(t, n), A.ttl)
  else
    deliver_run(t, n, r, outcome, r.error, duration, stands)
  end
  if stands then
    keep_request(t, n, r)
    change(t, n, r, { state = 'SUCCESS', run = r.res_run or false, attempt = r.res_attempt or '1',
      started = r.res_started or false, ended = r.res_ended or false, duration_ms = r.res_duration_ms or '0',
      input = r.res_input or r.input or false, res_input = false, res_input_pub = false,
      input_pub = r.res_input_pub or not r.res_input and '{}', fp = r.res_fp or false, runner = r.res_runner or false, progress = '100',
      error = false, error_short = false,
      last_attempt = '{"status":"' .. outcome .. '","error":' .. (given.error or 'null') .. ',"run_id":'
        .. quoted(r.run) .. ',"ended_at":' .. iso(NOW) .. '}' })
  end
  project(t, n, r)
  call('HINCRBY', STATS, 'ended:' .. outcome, 1)
  settle(t)
  -- Last: by this an end is known to be whole.
  call('EXPIRE', stage_key(t, n), A.ttl)
  return emit(t, n, r, kind)
end

-- Ends wholly what was ended half: a whole end expires.
local function complete_end(t, n, r)
  if r.awaits_upload ~= '1' then deliver_run(t, n, r, r.state, r.error, r.duration_ms) end
  project(t, n, r)
  settle(t)
  call('EXPIRE', stage_key(t, n), A.ttl)
  emit(t, n, r, r.state == 'SUCCESS' and 'succeeded' or r.state == 'FAILED' and 'failed' or 'cancelled')
end
