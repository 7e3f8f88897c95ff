-- Takes a finished result that an existing Python worker wrote into a record of ours, without touching its JSON.
-- Arguments: task, name, key, sha, queue, state, output, reusable, warnings?, retryable?, input, input_pub, error?,
-- error_short?, duration_ms, ended, created, path. Answers 1, or 0 when the JSON has changed or a run of ours is in flight, -1
-- when the task has as many stages outside the catalog as it may. One that is taken over
-- already, by another daemon, is left as it is.

local t, n = A.task, A.name
local json = call('GET', A.key)
if not json or redis.sha1hex(json) ~= A.sha then return 0 end
local r = load(t, n)
if r and (r.damage or in_flight(r.state)) then return 0 end
if is_surplus_stage(t, n) then return -1 end
local is_today = A.key == projection_key(t, n)
if r and A.sha == (is_today and r.seen or not is_today and r.seen_older or nil) then return 1 end
-- The result that is told of here is about to be replaced.
deliver_uploaded(t, n, r)
keep_ends(t, n, r)
if r then keep_request(t, n, r) end
r = r or { rev = '0', created = A.ended }
follow_noted(r, noted(t, n))
local fields = { created = r.created, state = A.state, run = false, attempt = '1', queue = A.queue, runner = 'foreign',
  reason = false, restore = false, queued = false, started = false, ended = A.ended, duration_ms = A.duration_ms,
  progress = false, message = false, input = A.input,
  input_pub = A.input_pub ~= A.input and A.input_pub or false, res_input = false, res_input_pub = false, fp = false,
  path = A.path, callback = 'null',
  given_up = false, error = A.error or false, error_short = A.error_short or false, last_attempt = false,
  seen = sha_at(projection_key(t, n)) or false, seen_older = sha_at(older_key(t, n)) or false }
if A.state == 'SUCCESS' then
  fields.progress = '100'
  fields.res_run = false
  fields.res_attempt = '1'
  fields.res_started = false
  fields.res_ended = A.ended
  fields.res_duration_ms = A.duration_ms
  fields.res_fp = false
  fields.res_in_files = false
  fields.res_in_sources = false
  fields.res_output = A.output
  fields.res_reusable = A.reusable
  fields.res_warnings = A.warnings or false
  fields.res_retryable = A.retryable or false
  fields.res_artifacts = '[]'
  fields.res_files = false
  fields.upload = false
  fields.uploaded = false
end
change(t, n, r, fields)
forget_noted(t, n)
local ttl = call('PTTL', A.key)
call('PEXPIRE', stage_key(t, n), ttl > 0 and ttl or int(tonumber(A.ttl) * 1000))
index_foreign(t, n)
local told = deliver_watched(t, n, r, A.state, r.error, A.duration_ms)
if told then
  change(t, n, r, { callback_status = 'pending', callback_id = told })
  call('HSET', task_key(t), 'callback_status', 'pending', 'callback_id', told)
end
settle(t)
emit(t, n, r, A.state == 'SUCCESS' and 'succeeded' or A.state == 'FAILED' and 'failed' or 'cancelled')
return 1
