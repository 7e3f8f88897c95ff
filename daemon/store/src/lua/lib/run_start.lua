-- How a run begins to wait in its queue.

-- Reasons for a run that leave a standing success readable, and let it come back if the run does not succeed.
local RESTORING = { forced = true, input_changed = true, input_unknown = true, retryable_warnings = true,
  policy_off = true }

-- What a record does not have as its run begins to wait.
local FIELDS_OF_RUN = { 'started', 'ended', 'duration_ms', 'progress', 'message', 'error', 'error_short', 'owner',
  'lease', 'lost', 'given_up', 'attempts', 'took', 'seen', 'lingers', 'pushed', 'worker', 'sent' }

-- Keeps what is known of the run in the record, which is about to hold another one, and removes in `fields` what is not
-- of that; with `restores` the success that stands may stand again.
-- Reads: stage_key, FAN_OUTS. Reads, writes: end_key. Writes: history_key. Arguments: keep_runs.
local function replace_run(task, node, record, restores, fields) -- rare
  if not restores then preserve_current_end(task, node, record) end
  keep_ended_run(task, node, record)
  for _, field in ipairs(FIELDS_OF_RUN) do fields[field] = false end
  -- The record may hold that run again.
  fields.kept = restores and record.run or false
  fields.res_input = restores and record.input or false
  fields.res_input_pub = restores and record.input_pub or false
end

-- Removes what is known of another worker's run of the stage, which is lost or failed unseen, or it would have been
-- joined. The callbacks that waited for that are moved to the run that starts. Answers the notes of the task by node,
-- and the URL of one of these callbacks, if any.
-- Reads: older_public_json_key. Reads, writes: foreign_key, external_subscribers_key. Writes: FOREIGN, callbacks_key,
-- EXTERNAL_SUBSCRIPTIONS.
local function replace_foreign_stage(task, node, record, fields) -- rare
  local notes, has_notes = read_notes(task)
  continue_revision(record, notes[node])
  if has_notes then delete_note(task, node) end
  notes[node] = nil
  fields.seen_older = hash_json_at(older_public_json_key(task, node)) or false
  call('DEL', callbacks_key(task, node))
  local url = call('HRANDFIELD', external_subscribers_key(task, node))
  if url then
    call('RENAME', external_subscribers_key(task, node), callbacks_key(task, node))
    delete_external_subscribers(task, node)
  end
  return notes, url
end

-- Derives the status of a task that existed before the run of a stage, and keeps it from expiring. `before` is the
-- status that it had.
-- Reads: stage_key. Reads, writes: stages_key. Writes: node_index_key, task_key, EXPIRY.
local function continue_task(task, node, record, notes, before) -- rare
  if not is_status_in_flight(before) then persist_task(task) end
  return derive_task_status(task, notes, node, record)
end

-- Puts a stage whose run waits into the indexes, and makes its request the newest of the task. A new task is created.
-- `notes` are those of the task by node.
-- Reads: stage_key. Reads, writes: task_key, stages_key. Writes: TASKS, EXPIRY, node_index_key, status_index_key.
-- Arguments: callback, url.
local function show_waiting_run(task, node, record, order, notes)
  local known = call('HMGET', task_key(task), 'created', 'status', 'req_input', 'callback_id', 'callback_status')
  local since = known[1] or NOW_DIGITS
  -- What is in no list of tasks does not expire either.
  local is_new = not known[1] and call('ZADD', TASKS, since, task) == 1
  call('ZADD', stages_key(task), 'NX', order, node)
  call('ZADD', node_index_key(node), 'NX', tonumber(since) and since or NOW_DIGITS, task)
  local status = is_new and not next(notes) and 'pending' or continue_task(task, node, record, notes, known[2])
  move_task(task, known[2], status, since)
  call('HSET', task_key(task), 'created', since, 'newest', node, 'req_callback', args.callback, 'status', status,
    'updated', NOW_DIGITS)
  show_callback(task, record.callback_id)
  -- The input of the newest request is that of the stage.
  if known[3] then call('HDEL', task_key(task), 'req_input') end
  if not record.callback_id and (known[4] or known[5]) then
    call('HDEL', task_key(task), 'callback_status', 'callback_id')
  end
end

-- Whether nothing is known of a stage that has no record: no JSON or note of another worker, and no callback.
-- Reads: public_json_key, older_public_json_key, callbacks_key, external_subscribers_key, foreign_key.
local function is_untouched_stage(task, node)
  return call('EXISTS', public_json_key(task, node), older_public_json_key(task, node), callbacks_key(task, node),
    external_subscribers_key(task, node), foreign_key(task)) == 0
end

-- Queues a new run. `record` is nil where the stage has none; `is_untouched` is what `is_untouched_stage` answered.
-- Answers as `submit` does.
-- Reads: breaker_key, older_public_json_key. Reads, writes: stage_key, task_key, stages_key, foreign_key,
-- callbacks_key, external_subscribers_key, end_key, fan_out_key, delivery_key, ORDER. Writes: queue_key, history_key,
-- public_json_key, the indexes of tasks, FOREIGN, EXTERNAL_SUBSCRIPTIONS, AWAITED, STATS, FAN_OUTS, the outbox and the
-- lists of deliveries, EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, keep_runs, ttl, run, queue, runner, mode,
-- input, input_pub, fp, path, callback, url, host, needs, ignore.
local function start_run(task, node, record, reason, is_untouched)
  local before = record and record.state
  -- The callbacks that wait report a result that is about to be replaced.
  if before and record.awaits_upload == '1' then deliver_awaiting_callbacks(task, node, record) end
  record = record or { rev = '0' }
  -- The first write is one that a full Redis refuses: after another it would accept all of them.
  local order = format_integer(call('INCR', ORDER))
  local restores = before == 'SUCCESS' and RESTORING[reason]
  local fields = { created = record.created or NOW_DIGITS, gen = format_integer(tonumber(record.gen or 0) + 1),
    state = 'PENDING', run = args.run, attempt = '0', queue = args.queue, runner = args.runner, qseq = order,
    reason = reason, restore = restores and '1' or false, fresh = args.mode == 'never' and '1' or false,
    queued = NOW_DIGITS, needs = args.needs or false,
    input = args.input, input_pub = args.input_pub ~= args.input and args.input_pub or false,
    fp = args.fp, path = args.path, callback = args.callback ~= 'null' and args.callback or false,
    runs = format_integer(tonumber(record.runs or 0) + 1), projected = true }
  local notes, waiting_url = {}, nil
  if before then replace_run(task, node, record, restores, fields) end
  if not is_untouched then notes, waiting_url = replace_foreign_stage(task, node, record, fields) end
  if args.url or waiting_url then
    if args.url then call('HSET', callbacks_key(task, node), args.url, encode_callback('started', args.host)) end
    set_callback(fields, build_delivery_id(args.run, args.url or waiting_url))
  elseif before then
    set_callback(fields, false)
  end
  update_record(task, node, record, fields)
  if before then
    call('PERSIST', stage_key(task, node))
    call('PERSIST', history_key(task, node))
  end
  call('ZADD', queue_key(args.queue), order, stage_member(task, node))
  write_public_json(task, node, record)
  -- What is damaged in an index does not keep the run from its queue.
  show_waiting_run(task, node, record, order, notes)
  call('HINCRBY', STATS, 'misses', 1)
  return { 'run', reason, args.run, publish_stage_event(task, node, record, nil, 'queued') }
end
