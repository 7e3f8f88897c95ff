-- Decides reuse and claims the stage in one step (R1-R5).
-- Arguments:
--   task, name, queue, runner, path (JSON)
--   run                      id for a new run
--   input, input_pub         the request's input as JSON, and the same with secrets hidden
--   mode, fp, in_files?      the reuse policy, and what the input is compared by
--   callback (JSON), url?, host?, hit_delivery (id of the delivery after a hit), most_callbacks
--   verified?                token of the result whose files are complete
--   broken?, broken_how?     token of the result whose files are not: artifact_missing or artifact_changed
--   ignore?                  hashes of JSONs of other workers that count as lost
--   sources                  groups of nodes: for a run the task needs a stage of each group
--   files?                   the request names files
--   inputs?                  what was found of them: present, missing, or may_come (missing, and where a stage in flight
--                            may still put them)
--   most_input               bytes that the inputs of the task's stages may have
--   unable?                  this daemon cannot run the node
--   full?                    Redis is nearly full
--   key?, key_body?          hashes of an idempotency key and of the request that it stands for
--   video?, processing?      the video whose pipeline submits the stage, and its processing
--   needs?                   the stages that a run is known to take from or to follow, as a JSON array
--   keep_runs                how many earlier runs of the stage are kept
-- Answers one of these; after all but the first three nothing was written:
--   {'hit', seq, input_changed, token, gen, parts}   the finished stage answers with the result of this token; with
--                                       generation and parts of the summary `hit` answers the next request
--   {'join', state, run, seq}           a run is in flight
--   {'run', reason, run, seq}           a run was queued
--   {'verify', token, artifacts}        a hit, if the daemon finds its files complete
--   {'foreign', key, sha, ttl, json}    another worker wrote this stage
--   {'refuse', input_changed}           the result came from other input, and the node's policy refuses that
--   {'no_source', groups}               a run would miss what only earlier stages can give; groups count from 0
--   {'inputs'}                          a run would start, if the daemon finds the files that the request names
--   {'inputs_missing'}                  a run would start without files that the request names
--   {'unable'}                          a run would start that this daemon cannot run
--   {'keyed', task}                     the request was sent before with this idempotency key, under that task
--   {'key_reused'}                      another request was sent with this idempotency key
--   {'superseded'}                      the processing is no longer the video's
--   {'full'}                            the request would fill a nearly full Redis further
--   {'callbacks'}                       as many callbacks wait for the run as may
--   {'task_full'}                       the inputs of the task's stages would be larger than they may
--   {'damaged', what}                   the record of the stage is damaged
--   {'known'}                           the pipeline has submitted this very run before

local task, node = args.task, args.name

-- Seconds for which an idempotency key stands for its first request.
local KEY_TTL = 86400

-- Bytes of an input that needs no check of the task's limit: as many of these as a task has stages are below it.
local SMALL_INPUT = 65536

-- Answers the reply to a request that was sent before with its idempotency key, or whose key belongs to another request.
local function check_key()
  if not args.key then return nil end
  local known = call('GET', idempotency_key(args.key))
  local body, keyed_task = string.match(known or '', '^(%S+) (%S+)$')
  if body and body ~= args.key_body then return { 'key_reused' } end
  if keyed_task and keyed_task ~= task then return { 'keyed', keyed_task } end
end

-- Whether the processing has submitted this very run before.
local function is_duplicate_run(record)
  return record.run == args.run or record.res_run == args.run
    or string.find(record.last_attempt or '', args.run, 1, true)
end

-- Answers the positions of the groups of sources of which the task has no stage.
local function find_missing_sources()
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
local function is_task_in_flight()
  local status = call('HGET', task_key(task), 'status')
  return status == 'running' or status == 'pending'
end

-- Answers the bytes of the inputs of the task's other stages.
local function count_other_inputs()
  local bytes = 0
  for _, other in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    if other ~= node then bytes = bytes + call('HSTRLEN', stage_key(task, other), 'input') end
  end
  return bytes
end

-- Answers why a run cannot start; nil where it can.
local function check_run()
  local missing = find_missing_sources()
  if #missing > 0 then return { 'no_source', missing } end
  if args.files and not args.inputs then return { 'inputs' } end
  if args.inputs == 'missing' or (args.inputs == 'may_come' and not is_task_in_flight()) then
    return { 'inputs_missing' }
  end
  if args.unable then return { 'unable' } end
  if #args.input > SMALL_INPUT and count_other_inputs() + #args.input > tonumber(args.most_input) then
    return { 'task_full' }
  end
end

-- Whether the URL is one more than may wait for the run in flight.
local function is_surplus_callback(record)
  local key = callbacks_key(task, node)
  return call('HEXISTS', key, args.url) == 0 and not record['cb:' .. args.url]
    and call('HLEN', key) >= tonumber(args.most_callbacks)
end

-- Shows in the task the state of the delivery that will answer the request, if it asks for one.
local function show_callback(delivery)
  if args.url then call('HSET', task_key(task), 'callback_status', 'pending', 'callback_id', delivery) end
end

-- Shows in `fields` of a record that a callback waits for the run, or that none does: `delivery` is then false.
local function set_callback(fields, delivery)
  local status = delivery and 'pending'
  fields.callback_status = status
  fields.callback_id = delivery
  fields.run_callback_status = status
  fields.run_callback_id = delivery
end

-- Joins the run in flight.
local function join_run(record)
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
  show_callback(fields.callback_id)
  call('HINCRBY', STATS, 'joins', 1)
  return { 'join', record.state, record.run, publish_event(task, node, record, 'joined') }
end

-- Delivers the result that stands to the URL of the request.
local function deliver_hit(record)
  local ending = create_result_end(task, node, record)
  add_delivery(args.hit_delivery, args.url, args.host, task, node, record.res_run or '', 'completed',
    '{"reuse_hit":true,"task_name":"' .. node .. '","source":"redis","cached_at":' .. format_time(record.res_ended)
      .. ',"input_changed":' .. record.input_changed .. ',"saved_seconds":' .. format_seconds(record.res_duration_ms)
      .. build_warnings_json(record) .. '}',
    ending)
  count_end_deliveries(ending, 1)
  call('HSET', stage_key(task, node), 'callback_status', 'pending', 'callback_id', args.hit_delivery)
  record.callback_status = 'pending'
  show_callback(args.hit_delivery)
end

-- Answers with the result that stands.
local function reuse_result(record)
  if args.url then deliver_hit(record) end
  count_hits(task, node, record, '1')
  return { 'hit', publish_event(task, node, record, 'hit'), record.input_changed,
    build_result_token(record.res_run, record.res_attempt, record.res_ended), record.gen or '',
    { build_summary_parts(record) } }
end

-- Moves callbacks that waited for another worker's run, which is lost or failed unseen, to the run that starts. Answers
-- the URL of one, if any.
local function adopt_external_subscribers()
  call('DEL', callbacks_key(task, node))
  local url = call('HRANDFIELD', external_subscribers_key(task, node))
  if url then
    call('RENAME', external_subscribers_key(task, node), callbacks_key(task, node))
    delete_external_subscribers(task, node)
  end
  return url
end

-- Reasons for a run that leave a standing success readable, and let it come back if the run does not succeed.
local RESTORING = { forced = true, input_changed = true, input_unknown = true, retryable_warnings = true,
  policy_off = true }

-- Queues a new run. `record` is nil where the stage has none.
local function start_run(record, reason)
  -- The callbacks that wait report a result that is about to be replaced.
  deliver_awaiting_callbacks(task, node, record)
  local before = record and record.state
  record = record or { rev = '0' }
  -- What another worker has under this name is lost, or it would have been joined.
  continue_revision(record, read_note(task, node))
  -- The first write is one that a full Redis refuses: after another it would accept all of them.
  local order = format_integer(call('INCR', ORDER))
  delete_note(task, node)
  local restore = before == 'SUCCESS' and RESTORING[reason] and '1' or '0'
  if restore ~= '1' then preserve_current_end(task, node, record) end
  if before then keep_ended_run(task, node, record) end
  local fields = { created = record.created or format_integer(NOW),
    gen = format_integer(tonumber(record.gen or 0) + 1), state = 'PENDING', run = args.run, attempt = '0',
    queue = args.queue, runner = args.runner, qseq = order, reason = reason, restore = restore,
    fresh = args.mode == 'never' and '1' or false, queued = format_integer(NOW), started = false, ended = false,
    duration_ms = false, progress = false, message = false, error = false, error_short = false, owner = false,
    lease = false, lost = false, given_up = false, attempts = false, needs = args.needs or false, took = false,
    -- The record may hold that run again.
    kept = restore == '1' and record.run or false,
    input = args.input, input_pub = args.input_pub ~= args.input and args.input_pub or false,
    fp = args.fp, path = args.path, callback = args.callback, seen = false,
    seen_older = hash_json_at(older_public_json_key(task, node)) or false,
    res_input = restore == '1' and record.input or false, res_input_pub = restore == '1' and record.input_pub or false,
    runs = format_integer(tonumber(record.runs or 0) + 1), projected = true }
  -- The stage has to show that a callback waits, or none is looked for when it ends.
  local waiting_url = adopt_external_subscribers()
  local url = args.url or waiting_url
  set_callback(fields, url and build_delivery_id(args.run, url) or false)
  if args.url then call('HSET', callbacks_key(task, node), args.url, encode_callback('started', args.host)) end
  update_record(task, node, record, fields)
  if before then
    call('PERSIST', stage_key(task, node))
    call('PERSIST', history_key(task, node))
  end
  index_stage(task, node, order)
  remember_request(task, node, record)
  show_callback(fields.callback_id)
  if not fields.callback_id then call('HDEL', task_key(task), 'callback_status', 'callback_id') end
  call('ZADD', queue_key(args.queue), order, stage_member(task, node))
  write_public_json(task, node, record)
  update_task_status(task)
  call('HINCRBY', STATS, 'misses', 1)
  return { 'run', reason, args.run, publish_event(task, node, record, 'queued') }
end

local repeated = check_key()
if repeated then return repeated end
if args.video and call('HGET', video_key(args.video), 'active') ~= args.processing then return { 'superseded' } end
local record = load_record(task, node)
if args.video and record and is_duplicate_run(record) then return { 'known' } end
if record and record.damage then return { 'damaged', record.damage } end
local reason, answer = decide_reuse(task, node, record)
if answer then return answer end
local is_joined = not reason and is_in_flight(record.state)
local refusal = reason and check_run()
if refusal then return refusal end
if is_joined and args.url and is_surplus_callback(record) then return { 'callbacks' } end
if args.full and (reason or args.url) then return { 'full' } end

-- From here on the script writes. A request that was refused has not used its key.
if args.key then call('SET', idempotency_key(args.key), args.key_body .. ' ' .. task, 'NX', 'EX', KEY_TTL) end
if is_joined then return join_run(record) end
if not reason then return reuse_result(record) end
return start_run(record, reason)
