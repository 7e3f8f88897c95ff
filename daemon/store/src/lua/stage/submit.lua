-- Decides reuse and claims the stage in one step (R1-R5). Answers one of
--   {'hit', seq, ...view}        the finished stage answers
--   {'join', state, run, seq}    a run is in flight
--   {'run', reason, run, seq}    a run was queued
--   {'verify', token, artifacts} a hit whose files the daemon must look at first; nothing was written
--   {'foreign', key, sha, ttl, json}  somebody else wrote this stage; nothing was written
--   {'refuse', input_changed}    the result came from other input, and the node's policy refuses that
--   {'no_source', groups}        a run would lack what only earlier stages can give; nothing was written
--   {'inputs'}                   a run would start, and the daemon must look first whether the files that the request
--                                names are there; nothing was written
--   {'inputs_missing'}           a run would start without files that the request names; nothing was written
--   {'unable'}                   a run is asked for that this daemon cannot run; nothing was written
--   {'keyed', task}              the request was sent before with this idempotency key, under that task; nothing was written
--   {'key_reused'}               another request was sent with this idempotency key; nothing was written
--   {'superseded'}               the pipeline that asks is no longer the video's; nothing was written
--   {'full'}                     Redis is nearly full, and this would fill it further; nothing was written
--   {'callbacks'}                as many callbacks wait for the run as may; nothing was written
--   {'task_full'}                the inputs of the task's stages would be larger than they may; nothing was written
--   {'damaged', what}            the stage's record is damaged; nothing was written
--   {'known'}                    the pipeline has asked for this very run before; nothing was written
-- Arguments: task, name, mode, run (id for a new run), queue, runner, input, input_pub, fp, path, callback
-- (JSON), url, host, hit_delivery, verified, broken, broken_how (artifact_missing or
-- artifact_changed), ignore (shas of foreign JSONs that count as lost), names, sources (nodes of which the task must
-- have a stage for a run: groups, one of each, counted from 0 in the answer), files (the request names
-- some), inputs (what was found of them: present, missing, or may_come: missing, and where a stage in flight may still
-- put them), unable, key and key_body (hashes of an idempotency key and of the request that it stands for), video and
-- processing (the video's pipeline that asks, and its run).

local function task_in_flight(t)
  local status = call('HGET', task_key(t), 'status')
  return status == 'running' or status == 'pending'
end

-- How long an idempotency key stands for its first request.
local KEY_TTL = 86400

-- Inputs of so few bytes are counted against the task's limit only with others: as many as a task has stages are small.
local SMALL_INPUT = 65536

-- Bytes of the inputs of a task's other stages.
local function inputs_of(t, n)
  local bytes = 0
  for _, other in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
    if other ~= n then bytes = bytes + call('HSTRLEN', stage_key(t, other), 'input') end
  end
  return bytes
end

-- Whether a URL is one more than may wait for the run in flight.
local function is_surplus(t, n, r)
  local key = callbacks_key(t, n)
  return call('HEXISTS', key, A.url) == 0 and not r['cb:' .. A.url] and call('HLEN', key) >= tonumber(A.most_callbacks)
end

local t, n = A.task, A.name
if A.key then
  local known = call('GET', idempotency_key(A.key))
  local body, task = string.match(known or '', '^(%S+) (%S+)$')
  if body and body ~= A.key_body then return { 'key_reused' } end
  if task and task ~= t then return { 'keyed', task } end
end
if A.video and call('HGET', video_key(A.video), 'active') ~= A.processing then return { 'superseded' } end
local r = load(t, n)
if A.video and r and (r.run == A.run or r.res_run == A.run
  or string.find(r.last_attempt or '', A.run, 1, true)) then return { 'known' } end
if r and r.damage then return { 'damaged', r.damage } end
local reason, ask = decide(t, n, r)
if ask then return ask end
if reason then
  local group, lacking = 0, {}
  for _, nodes in each(A.sources) do
    local found = false
    for _, source in ipairs(nodes) do
      found = found or call('EXISTS', stage_key(t, source), projection_key(t, source), older_key(t, source)) > 0
    end
    if not found then lacking[#lacking + 1] = group end
    group = group + 1
  end
  if #lacking > 0 then return { 'no_source', lacking } end
  if A.files and not A.inputs then return { 'inputs' } end
  if A.inputs == 'missing' or (A.inputs == 'may_come' and not task_in_flight(t)) then return { 'inputs_missing' } end
  if A.unable then return { 'unable' } end
  if #A.input > SMALL_INPUT and inputs_of(t, n) + #A.input > tonumber(A.most_input) then return { 'task_full' } end
elseif A.url and in_flight(r.state) and is_surplus(t, n, r) then
  return { 'callbacks' }
end
if A.full and (reason or A.url) then return { 'full' } end

-- From here on it is written. A request that was refused has not used its key up.
if A.key then call('SET', idempotency_key(A.key), A.key_body .. ' ' .. t, 'NX', 'EX', KEY_TTL) end

-- `delivery`: the one that will answer this request, whose state the task shows from now on.
local function remember_request(delivery)
  call('HSET', task_key(t), 'newest', n, 'req_callback', A.callback)
  if A.input_pub == public_input(r) then
    call('HDEL', task_key(t), 'req_input')
  else
    call('HSET', task_key(t), 'req_input', A.input_pub)
  end
  if A.url then call('HSET', task_key(t), 'callback_status', 'pending', 'callback_id', delivery) end
end

if r and in_flight(r.state) then
  local is_first = false
  local fields = { joins = int(tonumber(r.joins or 0) + 1) }
  if A.url then
    fields.callback_status = 'pending'
    fields.callback_id = delivery_id(r.run, A.url)
    fields.run_callback_status = 'pending'
    fields.run_callback_id = fields.callback_id
    -- The public JSON says no more than that there is one.
    is_first = r.run_callback_status ~= 'pending'
  end
  change(t, n, r, fields)
  if A.url and not r['cb:' .. A.url] then call('HSETNX', callbacks_key(t, n), A.url, asked('joined', A.host)) end
  if is_first then project_again(t, n, r) end
  remember_request(fields.callback_id)
  call('HINCRBY', STATS, 'joins', 1)
  return { 'join', r.state, r.run, emit(t, n, r, 'joined') }
end

if not reason then
  local saved = r.res_duration_ms or '0'
  local changed = r.input_changed
  change(t, n, r, { hits = int(tonumber(r.hits or 0) + 1), saved_ms = int(tonumber(r.saved_ms or 0) + tonumber(saved)),
    callback_status = A.url and 'pending' or nil, callback_id = A.url and A.hit_delivery or nil })
  call('HINCRBY', STATS, 'hits', 1)
  call('HINCRBY', STATS, 'saved_ms', saved)
  if A.url then
    local ending = open_result_end(t, n, r)
    put_delivery(A.hit_delivery, A.url, A.host, t, n, r.res_run or '', 'completed',
      '{"reuse_hit":true,"task_name":"' .. n .. '","source":"redis","cached_at":' .. iso(r.res_ended)
        .. ',"input_changed":' .. changed .. ',"saved_seconds":' .. seconds(saved) .. warned(r) .. '}',
      ending)
    count_end(ending, 1)
  end
  remember_request(A.hit_delivery)
  local seq = emit(t, n, r, 'hit')
  return { 'hit', seq, changed, read_view(t) }
end

-- The result that is told of here is about to be replaced.
deliver_uploaded(t, n, r)
local before = r and r.state
r = r or { rev = '0', created = int(NOW) }
-- What a worker has under this name is lost: it would have been joined.
follow_noted(r, noted(t, n))
-- The first write is one that a full Redis refuses: after another it would take them all.
local order = call('INCR', 'onceover:order')
forget_noted(t, n)
-- A standing success stays readable, and comes back if this run does not succeed.
local restore = (before == 'SUCCESS' and (reason == 'forced' or reason == 'input_changed'
  or reason == 'input_unknown' or reason == 'retryable_warnings' or reason == 'policy_off')) and '1' or '0'
if restore ~= '1' then keep_ends(t, n, r) end
local fields = { created = r.created, gen = int(tonumber(r.gen or 0) + 1), state = 'PENDING', run = A.run,
  attempt = '0', queue = A.queue, runner = A.runner, qseq = int(order), reason = reason, restore = restore,
  fresh = A.mode == 'never' and '1' or false,
  queued = int(NOW), started = false, ended = false, duration_ms = false, progress = false, message = false,
  error = false, error_short = false, owner = false, lease = false, lost = false, given_up = false, input = A.input,
  input_pub = A.input_pub ~= A.input and A.input_pub or false,
  fp = A.fp, path = A.path, callback = A.callback, seen = false, seen_older = sha_at(older_key(t, n)) or false,
  res_input = restore == '1' and r.input or false, res_input_pub = restore == '1' and r.input_pub or false,
  runs = int(tonumber(r.runs or 0) + 1) }
if A.url then
  fields.callback_status = 'pending'
  fields.callback_id = delivery_id(A.run, A.url)
  fields.run_callback_status = 'pending'
  fields.run_callback_id = fields.callback_id
else
  fields.callback_status = false
  fields.callback_id = false
  fields.run_callback_status = false
  fields.run_callback_id = false
end
-- Who waited for somebody else's run, which is lost or failed unseen, waits for this one now.
call('DEL', callbacks_key(t, n))
local waiting = call('HRANDFIELD', watch_key(t, n))
if waiting then
  call('RENAME', watch_key(t, n), callbacks_key(t, n))
  forget_watched(t, n)
  -- The stage has to say that somebody waits for a callback, or nobody looks for one when it ends.
  if not A.url then
    fields.callback_status = 'pending'
    fields.callback_id = delivery_id(A.run, waiting)
    fields.run_callback_status = 'pending'
    fields.run_callback_id = fields.callback_id
  end
end
if A.url then call('HSET', callbacks_key(t, n), A.url, asked('started', A.host)) end
change(t, n, r, fields)
call('PERSIST', stage_key(t, n))
index_stage(t, n, int(order))
remember_request(fields.callback_id)
if not fields.callback_id then call('HDEL', task_key(t), 'callback_status', 'callback_id') end
call('ZADD', queue_key(A.queue), int(order), queue_member(t, n))
project(t, n, r)
settle(t)
call('HINCRBY', STATS, 'misses', 1)
return { 'run', reason, A.run, emit(t, n, r, 'queued') }
