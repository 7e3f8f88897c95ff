-- How a run ends.

-- Copies the input of the task's newest request to the task, before the record of the stage gets another input. The
-- task shows its newest request, and keeps the input of that only where it is not the stage's.
-- Reads, writes: task_key.
local function preserve_request(task, node, record)
  local request = call('HMGET', task_key(task), 'newest', 'req_input')
  if request[1] == node and not request[2] then call('HSET', task_key(task), 'req_input', get_public_input(record)) end
end

-- Lets the success stand again that the run of the record, which has ended otherwise, was to replace (R8).
-- Reads, writes: task_key, stage_key. Writes: history_key. Arguments: keep_runs.
local function restore_success(task, node, record, outcome, result) -- rare
  preserve_request(task, node, record)
  keep_ended_run(task, node, record)
  update_record(task, node, record, { state = 'SUCCESS', run = record.res_run or false,
    attempt = record.res_attempt or '1', started = record.res_started or false, ended = record.res_ended or false,
    duration_ms = record.res_duration_ms or '0',
    input = record.res_input or record.input or false, res_input = false, res_input_pub = false,
    input_pub = record.res_input_pub or not record.res_input and '{}', fp = record.res_fp or false,
    runner = record.res_runner or false, progress = '100', error = false, error_short = false, attempts = false,
    needs = record.res_needs or false, took = false,
    last_attempt = '{"status":"' .. outcome .. '","error":' .. (result.error or 'null') .. ',"run_id":'
      .. quote_text(record.run) .. ',"ended_at":' .. format_time(NOW_DIGITS) .. '}' })
end

-- Copies input and output to the end of the success that the run of the record replaces, if callbacks still report it.
-- Reads: stage_key, FAN_OUTS. Reads, writes: end_key.
local function preserve_replaced_end(task, node, record) -- rare
  preserve_end(build_result_end_id(task, node, record))
end

-- Adds the result of the run of the record to `fields`, which are written next; `result` is as for `end_run`.
local function set_result(fields, record, result, started, duration)
  fields.progress = '100'
  fields.error = false
  fields.error_short = false
  fields.last_attempt = false
  fields.res_input = false
  fields.res_input_pub = false
  fields.res_run = record.run
  fields.res_attempt = record.attempt
  fields.res_started = started
  fields.res_ended = NOW_DIGITS
  fields.res_duration_ms = duration
  fields.res_fp = record.fp or false
  fields.res_in_files = result.in_files or false
  fields.res_in_sources = result.in_sources or false
  fields.res_needs = record.needs or false
  fields.res_output = result.output
  fields.res_reusable = result.reusable
  fields.res_warnings = result.warnings or false
  fields.res_retryable = result.retryable or false
  fields.res_artifacts = result.artifacts
  fields.res_runner = record.runner or false
  fields.res_files = false
  fields.upload = result.upload or false
  fields.uploaded = false
end

-- Ends the run of the record. `outcome` is SUCCESS, FAILED or CANCELLED; after the last two a success that a forced
-- rerun was to replace stands again (R8). `result` holds, after SUCCESS, output, reusable, artifacts, and where there
-- are any warnings, retryable, in_files, in_sources and upload; after FAILED error and error_short; after both took,
-- where in_sources does not say it. The caller has checked that the run owns the stage. Answers the number of the
-- event.
-- Reads: breaker_key, foreign_key. Reads, writes: stage_key, task_key, stages_key, callbacks_key, end_key, fan_out_key,
-- delivery_key. Writes: public_json_key, history_key, durations_key, the indexes of tasks, AWAITED, STATS, FAN_OUTS,
-- the outbox and the lists of deliveries, EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, keep_runs, ttl.
local function end_run(task, node, record, outcome, result)
  local started = tonumber(record.started or NOW)
  local duration = format_integer(math.max(0, NOW - started))
  local fields = { state = outcome, ended = NOW_DIGITS, duration_ms = duration, owner = false, lease = false,
    message = false, restore = false, took = result.took or false, dispatch = false }
  local kind
  if outcome == 'SUCCESS' then
    kind = 'succeeded'
    set_result(fields, record, result, format_integer(started), duration)
  else
    kind = outcome == 'FAILED' and 'failed' or 'cancelled'
    fields.error = result.error or false
    fields.error_short = result.error_short or false
  end
  local stands = record.restore == '1' and outcome ~= 'SUCCESS'
  if fields.upload and record.run_callback_status then
    fields.awaits_upload = '1'
    await_upload(task, node)
  end
  if outcome == 'SUCCESS' and record.restore == '1' then preserve_replaced_end(task, node, record) end
  -- Nearly always there is nothing of either kind.
  local has_more = call('EXISTS', callbacks_key(task, node), foreign_key(task)) > 0
  local has_callbacks = record.run_callback_status or has_more and has_waiting_callbacks(task, node, record)
  -- The public JSON shows this revision, where nothing that can fail stands between the two.
  if not has_callbacks and not stands then fields.projected = true end
  update_record(task, node, record, fields)
  if record.started then count_ended_run(node, outcome, duration) end
  if record.awaits_upload == '1' then
    call('EXPIRE', callbacks_key(task, node), args.ttl)
  elseif has_callbacks then
    deliver_run_callbacks(task, node, record, outcome, record.error, duration, stands)
  end
  if stands then restore_success(task, node, record, outcome, result) end
  write_public_json(task, node, record)
  call('HINCRBY', STATS, 'ended:' .. outcome, 1)
  local notes = has_more and read_notes(task) or {}
  update_task_status(task, node, record, notes)
  expire_history(task, node, record)
  -- This comes last: an end whose record expires is complete.
  call('EXPIRE', stage_key(task, node), args.ttl)
  return publish_stage_event(task, node, record, notes[node], kind)
end

-- Completes an end of which only a part was written: the record of a complete end expires.
-- Reads and writes the keys that `end_run` does. Arguments: db, keep_events, ttl.
local function complete_end(task, node, record) -- rare
  if record.awaits_upload ~= '1' and has_waiting_callbacks(task, node, record) then
    deliver_run_callbacks(task, node, record, record.state, record.error, record.duration_ms)
  end
  write_public_json(task, node, record)
  update_task_status(task)
  expire_history(task, node, record)
  call('EXPIRE', stage_key(task, node), args.ttl)
  local kind = record.state == 'SUCCESS' and 'succeeded' or record.state == 'FAILED' and 'failed' or 'cancelled'
  publish_event(task, node, record, kind)
end
