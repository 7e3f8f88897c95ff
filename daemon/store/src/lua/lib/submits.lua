-- What a submit does beside starting a run: it is refused, joins the run in flight, or is answered by a result.

-- Answers the positions of the groups of nodes in `sources` of which the task has no stage.
-- Reads: stage_key, public_json_key, older_public_json_key. Arguments: sources.
local function find_missing_sources(task) -- rare
  local group, missing = 0, {}
  for _, nodes in iterate_list(args.sources) do
    local found = false
    for _, source in ipairs(nodes) do
      found = found or call('EXISTS', stage_key(task, source), public_json_key(task, source),
        older_public_json_key(task, source)) > 0
    end
    if not found then missing[#missing + 1] = group end
    group = group + 1
  end
  return missing
end

-- Whether any stage of the task is in flight.
-- Reads: task_key.
local function is_task_in_flight(task) -- rare
  return is_status_in_flight(call('HGET', task_key(task), 'status'))
end

-- Answers the bytes of the inputs of the task's other stages.
-- Reads: stages_key, stage_key.
local function count_other_inputs(task, node) -- rare
  local bytes = 0
  for _, other in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    if other ~= node then bytes = bytes + call('HSTRLEN', stage_key(task, other), 'input') end
  end
  return bytes
end

-- Bytes of an input that needs no check of the task's limit: as many of these as a task has stages are below it.
local SMALL_INPUT = 65536

-- Whether there is anything to check before a run starts.
-- Arguments: sources, files, inputs, unable, input.
local function has_conditions()
  return args.sources or args.files or args.inputs or args.unable or #args.input > SMALL_INPUT
end

-- Answers why a run cannot start, as `submit` does; nil where it can.
-- Reads: stage_key, public_json_key, older_public_json_key, task_key, stages_key. Arguments: sources, files, inputs,
-- unable, input, most_input.
local function check_run(task, node) -- rare
  local missing = args.sources and find_missing_sources(task) or {}
  if #missing > 0 then return { 'no_source', missing } end
  if args.files and not args.inputs then return { 'inputs' } end
  if args.inputs == 'missing' or (args.inputs == 'may_come' and not is_task_in_flight(task)) then
    return { 'inputs_missing' }
  end
  if args.unable then return { 'unable' } end
  if #args.input > SMALL_INPUT and count_other_inputs(task, node) + #args.input > tonumber(args.most_input) then
    return { 'task_full' }
  end
end

-- Whether the URL of the request is one more than may wait for the run in flight.
-- Reads: callbacks_key. Arguments: url, most_callbacks.
local function is_surplus_callback(task, node, record) -- rare
  local key = callbacks_key(task, node)
  return call('HEXISTS', key, args.url) == 0 and not record['cb:' .. args.url]
    and call('HLEN', key) >= tonumber(args.most_callbacks)
end

-- Shows in `fields` of a record that a callback waits for the run, or that none does: `delivery` is then false.
local function set_callback(fields, delivery)
  local status = delivery and 'pending'
  fields.callback_status = status
  fields.callback_id = delivery
  fields.run_callback_status = status
  fields.run_callback_id = delivery
end

-- Shows in the task the state of the delivery that will answer the request, if it asks for one.
-- Writes: task_key. Arguments: url.
local function show_callback(task, delivery)
  if args.url then call('HSET', task_key(task), 'callback_status', 'pending', 'callback_id', delivery) end
end

-- Joins the run in flight. Answers as `submit` does.
-- Reads, writes: stage_key, task_key, callbacks_key, public_json_key. Writes: STATS, EVENT_SEQUENCE, EVENTS. Arguments:
-- db, keep_events, ttl, url, host, fp, input_pub, callback.
local function join_run(task, node, record) -- rare
  local is_first = false
  local fields = { joins = format_integer(tonumber(record.joins or 0) + 1) }
  if args.url then
    set_callback(fields, build_delivery_id(record.run, args.url))
    -- The public JSON shows only whether there is a callback.
    is_first = record.run_callback_status ~= 'pending'
  end
  update_record(task, node, record, fields)
  if args.url and not record['cb:' .. args.url] then
    call('HSETNX', callbacks_key(task, node), args.url, encode_callback('joined', args.host))
  end
  if is_first then rewrite_public_json(task, node, record) end
  remember_request(task, node, record)
  show_callback(task, fields.callback_id)
  call('HINCRBY', STATS, 'joins', 1)
  return { 'join', record.state, record.run, publish_stage_event(task, node, record, nil, 'joined') }
end

-- Delivers the result that stands to the URL of the request.
-- Reads: breaker_key. Reads, writes: end_key. Writes: stage_key, task_key, delivery_key, OUTBOX, OUTBOX_HOSTS,
-- host_outbox_key, DELIVERIES, deliveries_key, task_deliveries_key. Arguments: ttl, hit_delivery, url, host.
local function deliver_hit(task, node, record) -- rare
  local ending = create_result_end(task, node, record)
  add_delivery(args.hit_delivery, args.url, args.host, task, node, record.res_run or '', 'completed',
    '{"reuse_hit":true,"task_name":"' .. node .. '","source":"redis","cached_at":' .. format_time(record.res_ended)
      .. ',"input_changed":' .. record.input_changed .. ',"saved_seconds":' .. format_seconds(record.res_duration_ms)
      .. build_warnings_json(record) .. '}',
    ending)
  count_end_deliveries(ending, 1)
  call('HSET', stage_key(task, node), 'callback_status', 'pending', 'callback_id', args.hit_delivery)
  record.callback_status = 'pending'
  show_callback(task, args.hit_delivery)
end

-- Answers with the result that stands, as `submit` does.
-- Reads: breaker_key, foreign_key. Reads, writes: stage_key, task_key, end_key. Writes: STATS, durations_key,
-- delivery_key, the outbox and the lists of deliveries, EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, ttl, fp,
-- input_pub, callback, hit_delivery, url, host.
local function reuse_result(task, node, record) -- rare
  if args.url then deliver_hit(task, node, record) end
  count_hit(task, node, record)
  return { 'hit', publish_event(task, node, record, 'hit'), record.input_changed,
    build_result_token(record.res_run, record.res_attempt, record.res_ended), record.gen or '',
    { build_summary_parts(record) } }
end
