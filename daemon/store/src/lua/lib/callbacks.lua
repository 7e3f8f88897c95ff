-- Callbacks: who is to be notified of the end of a run, and how an end becomes deliveries. Who asked for the run in
-- flight is in `callbacks_key`, who waits for a stage that another worker runs is in `external_subscribers_key`, both
-- by URL.

-- The fields of a record that show the state of callbacks, and those of its summary.
local CALLBACK_FIELDS = { 'callback_id', 'run_callback_id', 'run_callback_status', unpack(SUMMARY_FIELDS) }

-- Shows the state of a delivery in its task and stage, if it is that of the newest request which asked for one. The
-- public JSON of a stage shows that of the newest for its run, because a hit does not rewrite it (C2). Publishes
-- `callback`.
-- Reads: foreign_key. Reads, writes: task_key, stage_key, public_json_key. Writes: EVENT_SEQUENCE, EVENTS. Arguments:
-- db, keep_events, ttl.
local function update_callback_status(task, node, id, state)
  if call('HGET', task_key(task), 'callback_id') == id then call('HSET', task_key(task), 'callback_status', state) end
  local record = load_record_fields(task, node, CALLBACK_FIELDS)
  if not record then return end
  if record.callback_id == id and record.callback_status ~= state then
    update_record(task, node, record, { callback_status = state })
  end
  if record.run_callback_id == id and record.run_callback_status ~= state then
    update_record(task, node, record, { run_callback_status = state })
    rewrite_public_json(task, node, load_record(task, node))
  end
  publish_event(task, node, record, 'callback')
end

-- Builds `reuse_info` of a request that waited for a run; `run` is nil for a stage that another worker ran.
local function build_joined_json(node, run)
  return '{"reuse_hit":true,"task_name":"' .. node .. '","source":"redis","cached_at":null,"state":"pending"'
    .. (run and (',"run_id":' .. quote_text(run)) or '') .. '}'
end

-- Writes what is kept of a URL: whether the first request with it `started` the run or `joined` it, and the host.
local function encode_callback(how, host) return cjson.encode({ how, host }) end

-- Answers the two values that `encode_callback` wrote.
local function decode_callback(text)
  if string.sub(text, 1, 1) == '[' then
    local is_read, pair = pcall(cjson.decode, text)
    if is_read and type(pair[2]) == 'string' then return pair[1], pair[2] end
    return 'joined', ''
  end
  -- An earlier version wrote `started <host>` for a run, and the host alone for a stage of another worker.
  local how, host = string.match(text, '^(%a+) (.+)$')
  return how or 'joined', host or text
end

-- Callbacks of one end that are put into the outbox together with it; the rest follows in further steps.
local FAN_OUT_AT_ONCE = 100

-- Puts about `most` callbacks of an end into the outbox. The last ones complete the fan-out.
-- Reads: breaker_key. Reads, writes: end_key, fan_out_key, delivery_key. Writes: FAN_OUTS, OUTBOX, OUTBOX_HOSTS,
-- host_outbox_key, DELIVERIES, deliveries_key, task_deliveries_key. Arguments: ttl.
local function continue_fan_out(id, most)
  local ending = call('HMGET', end_key(id), 'task', 'name', 'run', 'state', 'reuse_started', 'reuse_joined')
  local task, node, run = ending[1], ending[2], ending[3]
  local key, cursor, count = fan_out_key(id), '0', 0
  -- The end is deleted with its task.
  if task then
    repeat
      local page = call('HSCAN', key, cursor, 'COUNT', 100)
      cursor = page[1]
      local done, added = {}, 0
      for position = 1, #page[2], 2 do
        local url = page[2][position]
        local how, host = decode_callback(page[2][position + 1])
        local delivery_id = run ~= '' and build_delivery_id(run, url)
          or build_delivery_id('foreign-' .. id, task .. '|' .. node .. '|' .. url)
        if call('EXISTS', delivery_key(delivery_id)) == 0 then
          local reuse = how == 'started' and ending[5] or ending[6]
          add_delivery(delivery_id, url, host, task, node, run, TASK_STATUS[ending[4]], reuse, id)
          added = added + 1
        end
        done[#done + 1] = url
      end
      if added > 0 then count_end_deliveries(id, added) end
      call_in_chunks('HDEL', key, done)
      count = count + #done
    until cursor == '0' or count >= most
  end
  if cursor == '0' then
    call('DEL', key)
    call('ZREM', FAN_OUTS, id)
    count_end_deliveries(id, 0)
  end
end

-- Creates an end with these fields, and begins to deliver the callbacks that wait at `waiting_key`.
-- Reads: breaker_key. Reads, writes: `waiting_key`, end_key, fan_out_key, delivery_key. Writes: FAN_OUTS, OUTBOX,
-- OUTBOX_HOSTS, host_outbox_key, DELIVERIES, deliveries_key, task_deliveries_key. Arguments: ttl.
local function start_fan_out(id, waiting_key, fields)
  create_end(id, fields)
  call('HSET', end_key(id), 'reuse_joined', fields.reuse_joined, 'reuse_started', fields.reuse_started)
  call('RENAME', waiting_key, fan_out_key(id))
  call('PERSIST', fan_out_key(id))
  call('ZADD', FAN_OUTS, NOW_DIGITS, id)
  continue_fan_out(id, FAN_OUT_AT_ONCE)
end

-- Moves callbacks that an earlier version kept in the record to where they are kept now.
-- Writes: stage_key, callbacks_key.
local function import_former_callbacks(task, node, record)
  local moved = {}
  for field, value in pairs(record) do
    if string.sub(field, 1, 3) == 'cb:' then
      call('HSETNX', callbacks_key(task, node), string.sub(field, 4), value)
      moved[#moved + 1] = field
    end
  end
  for _, field in ipairs(moved) do record[field] = nil end
  call_in_chunks('HDEL', stage_key(task, node), moved)
end

-- Whether callbacks may wait for the end of the run of the record.
-- Reads: callbacks_key.
local function has_waiting_callbacks(task, node, record)
  return record.run_callback_status or call('EXISTS', callbacks_key(task, node)) == 1
end

-- Begins one delivery for each distinct URL that asked for the run of the record (C3), about how it ended. With
-- `is_last` the record is about to hold another run, so the end keeps its input.
-- Reads: breaker_key. Reads, writes: callbacks_key, end_key, fan_out_key, delivery_key. Writes: stage_key (former
-- callbacks), FAN_OUTS, OUTBOX, OUTBOX_HOSTS, host_outbox_key, DELIVERIES, deliveries_key, task_deliveries_key.
-- Arguments: ttl.
local function deliver_run_callbacks(task, node, record, state, error, duration_ms, is_last) -- rare
  import_former_callbacks(task, node, record)
  if call('EXISTS', callbacks_key(task, node)) == 0 then return end
  local fields = { task = task, name = node, state = state, run = record.run, duration_ms = duration_ms or '0',
    error = error or nil, reuse_joined = build_joined_json(node, record.run),
    reuse_started = '{"reuse_hit":false,"task_name":"' .. node .. '","reason":'
      .. quote_text(record.reason) .. ',"run_id":' .. quote_text(record.run) .. '}' }
  if state == 'SUCCESS' then
    fields.token = build_result_token(record.res_run, record.res_attempt, record.res_ended)
  elseif is_last then
    fields.input = get_public_input(record)
    fields.output = '{}'
  end
  start_fan_out(record.run, callbacks_key(task, node), fields)
end

-- Callbacks about a result whose files go to the object store wait until these are there, so that the receiver gets
-- their URLs. Such stages are in AWAITED, by the time after which an upload that nobody reports is not waited for any
-- longer.
local UPLOAD_SILENCE_MS = 600000

-- Lets the callbacks of a stage wait for its upload, from now on for UPLOAD_SILENCE_MS.
-- Writes: AWAITED.
local function await_upload(task, node) -- rare
  call('ZADD', AWAITED, format_integer(NOW + UPLOAD_SILENCE_MS), stage_member(task, node))
end

-- Delivers the callbacks that wait for the upload of a stage, about what is there; `record` may be nil. Answers whether
-- any waited.
-- Reads: breaker_key. Reads, writes: callbacks_key, end_key, fan_out_key, delivery_key. Writes: stage_key, AWAITED,
-- FAN_OUTS, OUTBOX, OUTBOX_HOSTS, host_outbox_key, DELIVERIES, deliveries_key, task_deliveries_key. Arguments: ttl.
local function deliver_awaiting_callbacks(task, node, record) -- rare
  if not record or record.awaits_upload ~= '1' then return false end
  update_record(task, node, record, { awaits_upload = false })
  call('ZREM', AWAITED, stage_member(task, node))
  deliver_run_callbacks(task, node, record, 'SUCCESS', nil, record.res_duration_ms)
  return true
end

-- Deletes the callbacks that wait for a stage which another worker runs; these belong to no run of ours.
-- Writes: external_subscribers_key, EXTERNAL_SUBSCRIPTIONS.
local function delete_external_subscribers(task, node)
  call('ZREM', EXTERNAL_SUBSCRIPTIONS, stage_member(task, node))
  return call('DEL', external_subscribers_key(task, node))
end

-- Begins one delivery for each callback that waits for a stage which another worker ran, about how it ended; `record`
-- is nil where it has none. Answers the id of one delivery, if any, and their number.
-- Reads: breaker_key. Reads, writes: external_subscribers_key, end_key, fan_out_key, delivery_key. Writes:
-- EXTERNAL_SUBSCRIPTIONS, FAN_OUTS, OUTBOX, OUTBOX_HOSTS, host_outbox_key, DELIVERIES, deliveries_key,
-- task_deliveries_key. Arguments: ttl.
local function deliver_to_external_subscribers(task, node, record, state, error, duration_ms)
  local key = external_subscribers_key(task, node)
  local url = call('HRANDFIELD', key)
  if not url then
    delete_external_subscribers(task, node)
    return nil, 0
  end
  local count = call('HLEN', key)
  -- With the time it differs from one about an earlier end.
  local id = NOW_DIGITS .. '-' .. string.sub(redis.sha1hex(task .. '|' .. node), 1, 16)
  local fields = { task = task, name = node, state = state, run = '', duration_ms = duration_ms or '0',
    error = error or nil, reuse_joined = build_joined_json(node, nil), reuse_started = build_joined_json(node, nil) }
  if state == 'SUCCESS' then
    fields.token = build_result_token(record.res_run, record.res_attempt, record.res_ended)
  else
    fields.input = record and get_public_input(record) or '{}'
    fields.output = '{}'
  end
  start_fan_out(id, key, fields)
  delete_external_subscribers(task, node)
  return build_delivery_id('foreign-' .. id, task .. '|' .. node .. '|' .. url), count
end
