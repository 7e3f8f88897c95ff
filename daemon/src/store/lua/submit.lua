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
--   {'known'}                    the pipeline has asked for this very run before; nothing was written
-- Arguments: task, name, mode, run (id for a new run), queue, runner, input, input_pub, fp, path, callback
-- (JSON), url, host, hit_delivery, verified, broken, broken_how (artifact_missing or
-- artifact_changed), ignore (shas of foreign JSONs that count as lost), names, sources (nodes of which the task must
-- have a stage for a run: groups by semicolon, one of each, counted from 0 in the answer), files (the request names
-- some), inputs (what was found of them: present, missing, or may_come: missing, and where a stage in flight may still
-- put them), unable, key and key_body (hashes of an idempotency key and of the request that it stands for), video and
-- processing (the video's pipeline that asks, and its run).

local function task_in_flight(t)
  local status = call('HGET', task_key(t), 'status')
  return status == 'running' or status == 'pending'
end

-- How long an idempotency key stands for its first request.
local KEY_TTL = 86400

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
local reason, ask = decide(t, n, r)
if ask then return ask end
if reason then
  local group, lacking = 0, {}
  for nodes in string.gmatch(A.sources, '[^;]+') do
    local found = false
    for source in string.gmatch(nodes, '%S+') do
      found = found or call('EXISTS', stage_key(t, source), projection_key(t, source), older_key(t, source)) > 0
    end
    if not found then lacking[#lacking + 1] = group end
    group = group + 1
  end
  if #lacking > 0 then return { 'no_source', lacking } end
  if A.files and not A.inputs then return { 'inputs' } end
  if A.inputs == 'missing' or (A.inputs == 'may_come' and not task_in_flight(t)) then return { 'inputs_missing' } end
  if A.unable then return { 'unable' } end
end

-- From here on it is written. A request that was refused has not used its key up.
if A.key then call('SET', idempotency_key(A.key), A.key_body .. ' ' .. t, 'NX', 'EX', KEY_TTL) end

-- `delivery`: the one that will answer this request, whose state the task shows from now on.
local function remember_request(delivery)
  call('HSET', task_key(t), 'newest', n, 'req_input', A.input_pub, 'req_callback', A.callback)
  if A.url then call('HSET', task_key(t), 'callback_status', 'pending', 'callback_id', delivery) end
end

if r and in_flight(r.state) then
  local fields = { joins = int(tonumber(r.joins or 0) + 1) }
  if A.url then
    fields.callback_status = 'pending'
    fields.callback_id = delivery_id(r.run, A.url)
    fields.run_callback_status = 'pending'
    fields.run_callback_id = fields.callback_id
    if not r['cb:' .. A.url] then fields['cb:' .. A.url] = 'joined ' .. A.host end
  end
  change(t, n, r, fields)
  if A.url then project_again(t, n, r) end
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
    put_delivery(A.hit_delivery, A.url, A.host, t, n, r.res_run or '', 'completed',
      '{"reuse_hit":true,"task_name":"' .. n .. '","source":"redis","cached_at":' .. iso(r.res_ended)
        .. ',"input_changed":' .. changed .. ',"saved_seconds":' .. seconds(saved) .. '}',
      '{' .. stage_body(r, 'SUCCESS', r.res_output, nil, r.res_duration_ms) .. '}')
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
  or reason == 'input_unknown' or reason == 'policy_off')) and '1' or '0'
local fields = { created = r.created, gen = int(tonumber(r.gen or 0) + 1), state = 'PENDING', run = A.run,
  attempt = '0', queue = A.queue, runner = A.runner, qseq = int(order), reason = reason, restore = restore,
  queued = int(NOW), started = false, ended = false, duration_ms = false, progress = false, message = false,
  error = false, error_short = false, owner = false, lease = false, lost = false, given_up = false, input = A.input, input_pub = A.input_pub,
  fp = A.fp, path = A.path, callback = A.callback, seen = false, seen_older = sha_at(older_key(t, n)) or false,
  res_input = restore == '1' and r.input or false, runs = int(tonumber(r.runs or 0) + 1) }
if A.url then
  fields.callback_status = 'pending'
  fields.callback_id = delivery_id(A.run, A.url)
  fields.run_callback_status = 'pending'
  fields.run_callback_id = fields.callback_id
  fields['cb:' .. A.url] = 'started ' .. A.host
else
  fields.callback_status = false
  fields.callback_id = false
  fields.run_callback_status = false
  fields.run_callback_id = false
end
-- Who waited for somebody else's run, which is lost or failed unseen, waits for this one now.
local waiting = call('HGETALL', watch_key(t, n))
for i = 1, #waiting, 2 do
  local field = 'cb:' .. waiting[i]
  fields[field] = fields[field] or ('joined ' .. waiting[i + 1])
end
if #waiting > 0 then
  forget_watched(t, n)
  -- The stage has to say that somebody waits for a callback, or nobody looks for one when it ends.
  if not A.url then
    fields.callback_status = 'pending'
    fields.callback_id = delivery_id(A.run, waiting[1])
    fields.run_callback_status = 'pending'
    fields.run_callback_id = fields.callback_id
  end
end
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
