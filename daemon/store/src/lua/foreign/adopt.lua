-- Adopts the result of a stage that another worker has finished: makes it a record of ours and leaves its JSON as it
-- is. A result that another daemon has adopted already is not changed.
-- Arguments: task, name, key, sha (of the JSON), queue, state, output, reusable, warnings?, retryable?, input,
-- input_pub, error?, error_short?, duration_ms, ended, created, path, most_stages, keep_runs (as for `finish`).
-- Answers 1; 0 if the JSON has changed or a run of ours is in flight, -1 if the task has as many stages outside the
-- catalog as it may.

local task, node = args.task, args.name
local json = call('GET', args.key)
if not json or redis.sha1hex(json) ~= args.sha then return 0 end
local record = load_record(task, node)
if record and (record.damage or is_in_flight(record.state)) then return 0 end
if is_surplus_stage(task, node) then return -1 end
local is_today = args.key == public_json_key(task, node)
if record and args.sha == (is_today and record.seen or not is_today and record.seen_older or nil) then return 1 end
-- The callbacks that wait report a result that is about to be replaced.
deliver_awaiting_callbacks(task, node, record)
preserve_current_end(task, node, record)
if record then
  preserve_request(task, node, record)
  keep_ended_run(task, node, record)
end
record = record or { rev = '0' }
continue_revision(record, read_note(task, node))
local fields = { created = record.created or args.ended, state = args.state, run = false, attempt = '1',
  queue = args.queue, runner = 'foreign', reason = false, restore = false, queued = false, started = false,
  ended = args.ended, duration_ms = args.duration_ms, progress = false, message = false, input = args.input,
  input_pub = args.input_pub ~= args.input and args.input_pub or false, res_input = false, res_input_pub = false,
  fp = false, path = args.path, callback = 'null', attempts = false, needs = false, took = false,
  given_up = false, error = args.error or false, error_short = args.error_short or false, last_attempt = false,
  seen = hash_json_at(public_json_key(task, node)) or false,
  seen_older = hash_json_at(older_public_json_key(task, node)) or false }
if args.state == 'SUCCESS' then
  fields.progress = '100'
  fields.res_run = false
  fields.res_attempt = '1'
  fields.res_started = false
  fields.res_ended = args.ended
  fields.res_duration_ms = args.duration_ms
  fields.res_fp = false
  fields.res_in_files = false
  fields.res_in_sources = false
  fields.res_needs = false
  fields.res_output = args.output
  fields.res_reusable = args.reusable
  fields.res_warnings = args.warnings or false
  fields.res_retryable = args.retryable or false
  fields.res_artifacts = '[]'
  fields.res_files = false
  fields.upload = false
  fields.uploaded = false
end
update_record(task, node, record, fields)
delete_note(task, node)
local ttl = call('PTTL', args.key)
local left = ttl > 0 and ttl or format_integer(tonumber(args.ttl) * 1000)
call('PEXPIRE', stage_key(task, node), left)
call('PEXPIRE', history_key(task, node), left)
index_foreign_stage(task, node)
local delivery_id = deliver_to_external_subscribers(task, node, record, args.state, record.error, args.duration_ms)
if delivery_id then
  update_record(task, node, record, { callback_status = 'pending', callback_id = delivery_id })
  call('HSET', task_key(task), 'callback_status', 'pending', 'callback_id', delivery_id)
end
update_task_status(task)
local kind = args.state == 'SUCCESS' and 'succeeded' or args.state == 'FAILED' and 'failed' or 'cancelled'
publish_event(task, node, record, kind)
return 1
