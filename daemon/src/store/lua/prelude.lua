-- What every script shares: key names, the stage record, its public projection, indexes, events, outbox.
--
-- Arguments come as pairs (name, value) and are read from `A`. Each script checks everything before its
-- first write, because an error in the middle is not rolled back. JSON is put together from fragments the
-- daemon supplied, never re-encoded. Numbers are written with %.0f: Lua's own spelling of a time in
-- milliseconds has an exponent.

local A = {}
for i = 1, #ARGV, 2 do A[ARGV[i]] = ARGV[i + 1] end

local call = redis.call

local function int(n) return string.format('%.0f', n) end

local clock = call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function stage_key(t, n) return 'onceover:stage:' .. t .. ':' .. n end
local function task_key(t) return 'onceover:task:' .. t end
local function stages_key(t) return 'onceover:task:' .. t .. ':stages' end
local function task_deliveries_key(t) return 'onceover:task:' .. t .. ':deliveries' end
local function queue_key(q) return 'onceover:queue:' .. q end
local function held_key(q) return 'onceover:held:' .. q end
local function watch_key(t, n) return 'onceover:watch:' .. t .. ':' .. n end
local WATCHES = 'onceover:watches'
local function foreign_key(t) return 'onceover:foreign:' .. t end
local FOREIGN = 'onceover:foreign'
local function delivery_key(id) return 'onceover:delivery:' .. id end
local function projection_key(t, n) return t .. ':node:' .. n end
local function older_key(t, n) return t .. ':' .. string.gsub(n, '%.', ':', 1) end
local AWAITED = 'onceover:awaited'
local OUTBOX = 'onceover:outbox'
local OUTBOX_HOSTS = 'onceover:outbox:hosts'
local OUTBOX_HELD = 'onceover:outbox:held'
local function host_outbox_key(host) return 'onceover:outbox:host:' .. host end
local function breaker_key(host) return 'onceover:outbox:breaker:' .. host end
local function uploads_key(directory) return 'onceover:uploads:' .. directory end
local function upload_key(member) return 'onceover:upload:' .. member end
local DELIVERIES = 'onceover:deliveries'
local DELIVERIES_EXPIRY = 'onceover:deliveries:expiry'
local function deliveries_key(state) return 'onceover:deliveries:' .. state end
local TASKS = 'onceover:tasks'
local function video_key(v) return 'onceover:video:' .. v end
local VIDEOS = 'onceover:videos'
local VIDEOS_ACTIVE = 'onceover:videos:active'
local function idempotency_key(hash) return 'onceover:idempotency:' .. hash end
local EXPIRY = 'onceover:expiry'
local STATS = 'onceover:stats'
local REAPER = 'onceover:reaper'
local DISK = 'onceover:disk'
local SEQ = 'onceover:seq'
local EVENTS = 'onceover:events'
local function status_key(s) return 'onceover:tasks:status:' .. s end
local function node_key(n) return 'onceover:tasks:node:' .. n end

local function queue_member(t, n) return t .. '|' .. n end
local function held_member(t, n, run, attempt, owner)
  return t .. '|' .. n .. '|' .. run .. '|' .. attempt .. '|' .. owner
end

-- The files of one result, on their way to the object store.
local function upload_member(t, n, run, attempt) return t .. '|' .. n .. '|' .. run .. '|' .. attempt end

-- Times and numbers as JSON

local function iso(ms)
  if not ms or ms == '' then return 'null' end
  ms = tonumber(ms)
  local s = math.floor(ms / 1000)
  local days = math.floor(s / 86400)
  local rest = s - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"', year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, ms - s * 1000)
end

local function seconds(ms) return string.format('%.3f', tonumber(ms or 0) / 1000) end

-- Only for text of a harmless alphabet: states, ids, node names, queue names, reasons.
local function quoted(text) return text and ('"' .. text .. '"') or 'null' end

-- The stage record

local function load(t, n)
  local flat = call('HGETALL', stage_key(t, n))
  if #flat == 0 then return nil end
  local r = {}
  for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
  return r
end

local function in_flight(state) return state == 'PENDING' or state == 'RUNNING' end

-- Writes the changed fields (false removes one) and counts the revision.
local function change(t, n, r, fields)
  fields.rev = int(tonumber(r.rev or 0) + 1)
  local set, gone = {}, {}
  for field, value in pairs(fields) do
    if value == false then
      if r[field] ~= nil then gone[#gone + 1] = field end
      r[field] = nil
    else
      set[#set + 1] = field
      set[#set + 1] = value
      r[field] = value
    end
  end
  call('HSET', stage_key(t, n), unpack(set))
  if #gone > 0 then call('HDEL', stage_key(t, n), unpack(gone)) end
end

local SUMMARY_FIELDS = { 'state', 'run', 'attempt', 'rev', 'queue', 'runner', 'progress', 'message', 'reason', 'restore', 'hits',
  'joins', 'saved_ms', 'queued', 'started', 'ended', 'duration_ms', 'error_short', 'callback_status' }

local function summary(r)
  return '{"status":"' .. r.state .. '","run_id":' .. quoted(r.run) .. ',"attempt":' .. (r.attempt or '1')
    .. ',"revision":' .. (r.rev or '0') .. ',"queue":"' .. (r.queue or '') .. '","runner":' .. quoted(r.runner) .. ',"progress":' .. (r.progress or 'null')
    .. ',"message":' .. (r.message or 'null') .. ',"reason":' .. quoted(r.reason)
    .. ',"forced":' .. ((r.restore == '1' and in_flight(r.state)) and 'true' or 'false')
    .. ',"reuse_hits":' .. (r.hits or '0') .. ',"joins":' .. (r.joins or '0')
    .. ',"saved_seconds":' .. seconds(r.saved_ms) .. ',"queued_at":' .. iso(r.queued) .. ',"started_at":'
    .. iso(r.started) .. ',"ended_at":' .. iso(r.ended) .. ',"duration":' .. seconds(r.duration_ms) .. ',"error":'
    .. (r.error_short or 'null') .. ',"callback_status":' .. quoted(r.callback_status) .. '}'
end

-- The start of a projection. A JSON that starts otherwise was written by somebody else.
local function projection_head(t, n, r)
  return '{"workflow_id":"' .. t .. '","stages":{"' .. n .. '":{"revision":' .. (r.projected or '0') .. ',"run_id":'
    .. quoted(r.run) .. ','
end

-- The JSON somebody left at a key, by its hash. A record keeps, as `seen` and `seen_older`, the hashes of what lay
-- under both spellings when it was last taken over or run: only other ones are news.
local function sha_at(key)
  local json = redis.pcall('GET', key)
  if not json or type(json) == 'table' then return nil end
  return redis.sha1hex(json), json
end

local function stage_body(r, state, output, error, duration_ms)
  return '"status":"' .. state .. '","input_params":' .. (r.input_pub or '{}') .. ',"output":' .. output
    .. ',"error":' .. (error or 'null') .. ',"duration":' .. seconds(duration_ms) .. ',"attempt":'
    .. (r.attempt or '1') .. ',"runner":' .. quoted(r.runner) .. ',"progress":' .. (r.progress or 'null')
    .. ',"started_at":' .. iso(r.started) .. ',"ended_at":' .. iso(r.ended)
end

-- The output a reader may use: of the success that stands, also while a forced rerun is under way (R8).
local function standing_output(r)
  if r.state == 'SUCCESS' or r.restore == '1' then return r.res_output or '{}' end
  return '{}'
end

-- Whether the result of this attempt is the one that stands (R7).
local function result_stands(r, run, attempt)
  return r and r.res_run == run and r.res_attempt == attempt and (r.state == 'SUCCESS' or r.restore == '1')
end

-- Names the result that stands, so that it can be told from the next; empty where there is none.
local function result_token(run, attempt, ended)
  if not ended then return '' end
  return (run or '') .. '/' .. (attempt or '') .. '/' .. ended
end

-- What of it is at the object store, as a JSON array.
local function standing_files(r)
  if r.res_files and (r.state == 'SUCCESS' or r.restore == '1') then return '[' .. r.res_files .. ']' end
  return 'null'
end

local TASK_STATUS = { PENDING = 'pending', RUNNING = 'running', SUCCESS = 'completed', FAILED = 'failed',
  CANCELLED = 'cancelled' }

-- Writes the public JSON of the stage (S1), with its own expiry.
local function project(t, n, r)
  local rev = r.rev
  call('HSET', stage_key(t, n), 'projected', rev)
  r.projected = rev
  local json = projection_head(t, n, r) .. stage_body(r, r.state, standing_output(r), r.error, r.duration_ms)
    .. '}},"task_id":"' .. t .. '","status":"' .. TASK_STATUS[r.state] .. '","create_at":' .. iso(r.created)
    .. ',"created_at":' .. iso(r.created) .. ',"updated_at":' .. iso(NOW) .. ',"input_params":{"task_name":"' .. n
    .. '","input_data":' .. (r.input_pub or '{}') .. ',"callback_url":' .. (r.callback or 'null')
    .. '},"shared_storage_path":' .. (r.path or 'null') .. ',"error":' .. (r.error or 'null')
    .. ',"minio_files":' .. standing_files(r) .. ',"callback_status":' .. quoted(r.run_callback_status) .. '}'
  call('SET', projection_key(t, n), json, 'EX', A.ttl)
end

-- What another worker has in flight (S5), as it was last noted: in the task's hash by node, and in FOREIGN by the time at
-- which the stage counts as lost. All views show it in the place of what we have of the stage, unless a run of ours is in
-- flight: then what the worker writes counts for nothing.

local function parse_noted(text)
  if not text then return nil end
  local state, rev, sha, started, progress, duration_ms =
    string.match(text, '^(%u+)|(%d+)|(%x+)|(%d*)|([%d.]*)|(%d+)$')
  return { state = state, rev = rev, sha = sha, started = started ~= '' and started or nil,
    progress = progress ~= '' and progress or nil, duration_ms = duration_ms }
end

-- Of one stage, or nil.
local function noted(t, n) return parse_noted(call('HGET', foreign_key(t), n)) end

-- Of all stages of a task, by node, and whether there are any.
local function all_noted(t)
  local flat = call('HGETALL', foreign_key(t))
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = parse_noted(flat[i + 1]) end
  return found, #flat > 0
end

local function forget_noted(t, n)
  if call('HDEL', foreign_key(t), n) == 1 then call('ZREM', FOREIGN, queue_member(t, n)) end
end

-- The record that views show: ours, or what was noted of another worker's. Either may be nil.
local function shown(r, entry)
  if not entry or (r and in_flight(r.state)) then return r end
  r = r or {}
  return { state = entry.state, attempt = '1', rev = int(math.max(tonumber(r.rev or 0), tonumber(entry.rev))),
    queue = r.queue, runner = 'foreign', progress = entry.progress,
    message = '"written by another worker"', hits = r.hits, joins = r.joins, saved_ms = r.saved_ms,
    started = entry.started, duration_ms = entry.duration_ms }
end

-- Lets the revision of a record go on from what was noted.
local function follow_noted(r, entry)
  if entry then r.rev = int(math.max(tonumber(r.rev or 0), tonumber(entry.rev))) end
end

-- Events

-- `pipeline`: for events about a video's pipeline, how far it is, as JSON.
local function emit(t, n, r, kind, pipeline)
  if n and r and not in_flight(r.state) then r = shown(r, noted(t, n)) end
  local seq = call('INCR', SEQ)
  local json = '{"v":1,"seq":' .. int(seq) .. ',"ts":' .. iso(NOW) .. ',"task_id":"' .. t .. '"'
  if n then json = json .. ',"task_name":"' .. n .. '"' end
  json = json .. ',"kind":"' .. kind .. '"'
  if r then json = json .. ',"stage":' .. summary(r) end
  if pipeline then json = json .. ',"pipeline":' .. pipeline end
  json = json .. '}'
  call('XADD', EVENTS, 'MAXLEN', '~', A.keep_events, int(seq) .. '-0', 'e', json)
  call('PUBLISH', 'onceover:' .. A.db .. ':events', json)
  return seq
end

-- Task and indexes

local function read_task(t)
  local flat = call('HGETALL', task_key(t))
  local task = {}
  for i = 1, #flat, 2 do task[flat[i]] = flat[i + 1] end
  return task
end

-- Bytes of files. By task in DISK, in all under `disk` of STATS, and by attempt (its folder) in the task's hash, so that
-- one that is told twice counts once. What is in DISK stays when the task expires, until its files are removed.
local function count_disk(t, folder, bytes)
  local before = tonumber(call('HGET', task_key(t), 'disk:' .. folder) or 0)
  if bytes == before then return end
  if bytes > 0 then
    call('HSET', task_key(t), 'disk:' .. folder, int(bytes))
  else
    call('HDEL', task_key(t), 'disk:' .. folder)
  end
  if tonumber(call('HINCRBY', DISK, t, int(bytes - before))) <= 0 then call('HDEL', DISK, t) end
  call('HINCRBY', STATS, 'disk', int(bytes - before))
end

-- As the owner of a run has measured: pairs of folder and bytes, `runs/<run_id> 123 ...`. Not for a task that is gone.
local function measured(t, told)
  if not told or call('EXISTS', task_key(t)) == 0 then return end
  for folder, bytes in string.gmatch(told, '(%S+) (%d+)') do count_disk(t, folder, tonumber(bytes)) end
end

-- The task's files are removed, or will be at once.
local function forget_disk(t)
  local bytes = call('HGET', DISK, t)
  if not bytes then return end
  call('HDEL', DISK, t)
  call('HINCRBY', STATS, 'disk', int(-tonumber(bytes)))
end

local function forget_task(t)
  local status = call('HGET', task_key(t), 'status')
  if status then call('ZREM', status_key(status), t) end
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do call('ZREM', node_key(n), t) end
  for _, n in ipairs(call('HKEYS', foreign_key(t))) do call('ZREM', FOREIGN, queue_member(t, n)) end
  call('ZREM', TASKS, t)
  call('ZREM', EXPIRY, t)
  call('DEL', task_key(t), stages_key(t), foreign_key(t))
end

-- Derives the task's status from its stages and moves the task between the indexes. While a stage is in
-- flight the task does not expire; after that it does when its newest stage does.
local function settle(t)
  local waiting, running, last, last_ended = false, false, nil, -1
  local foreign = all_noted(t)
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
    local s = call('HMGET', stage_key(t, n), 'state', 'ended')
    if foreign[n] and not in_flight(s[1]) then s = { foreign[n].state } end
    if not s[1] then
      call('ZREM', stages_key(t), n)
      call('ZREM', node_key(n), t)
    elseif s[1] == 'RUNNING' then
      running = true
    elseif s[1] == 'PENDING' then
      waiting = true
    else
      local ended = tonumber(s[2] or 0)
      if ended >= last_ended then last, last_ended = s[1], ended end
    end
  end
  local status = running and 'running' or waiting and 'pending' or last and TASK_STATUS[last]
  if not status then return forget_task(t) end
  local before = call('HMGET', task_key(t), 'status', 'created')
  if before[1] ~= status then
    if before[1] then call('ZREM', status_key(before[1]), t) end
    call('ZADD', status_key(status), before[2], t)
  end
  call('HSET', task_key(t), 'status', status, 'updated', int(NOW))
  if running or waiting then
    call('PERSIST', task_key(t))
    call('PERSIST', stages_key(t))
    call('ZREM', EXPIRY, t)
  else
    call('EXPIRE', task_key(t), A.ttl)
    call('EXPIRE', stages_key(t), A.ttl)
    call('ZADD', EXPIRY, int(NOW + tonumber(A.ttl) * 1000), t)
  end
end

-- Puts the stage into the indexes of its task; the task is made when it is new, as of `created` or now.
local function index_stage(t, n, order, created)
  created = created or int(NOW)
  if call('HSETNX', task_key(t), 'created', created) == 1 then call('ZADD', TASKS, created, t) end
  call('ZADD', stages_key(t), 'NX', order, n)
  call('ZADD', node_key(n), 'NX', call('HGET', task_key(t), 'created'), t)
end

-- Outbox. A delivery that is pending is in OUTBOX and in the outbox of its host, by the time it is due; the hosts are
-- in OUTBOX_HOSTS by the earliest of theirs, so that one full of deliveries does not stand before the others. Every
-- delivery is in the lists by time of creation (all, by state, of its task) until its record expires.

-- Until when a host is left alone, or 0: `until` and `wait` of its breaker. One that is further away than the wait it was
-- given was set by another clock.
local function open_until(till, wait)
  till = tonumber(till or 0)
  if till <= NOW or till - NOW > tonumber(wait or 0) then return 0 end
  return till
end

-- A host comes after those that were served longer ago, and not before its breaker lets somebody through.
local function due_at_host(host)
  local first = call('ZRANGE', host_outbox_key(host), 0, 0, 'WITHSCORES')
  local h = call('HMGET', breaker_key(host), 'failures', 'until', 'wait', 'served')
  if not first[1] then
    call('ZREM', OUTBOX_HOSTS, host)
    if not h[1] then call('DEL', breaker_key(host)) end
    return
  end
  local served = tonumber(h[4] or 0)
  if served > NOW then served = 0 end
  call('ZADD', OUTBOX_HOSTS, int(math.max(tonumber(first[2]), open_until(h[2], h[3]), served)), host)
end

local function schedule(id, host, at)
  call('ZADD', OUTBOX, at, id)
  call('ZADD', host_outbox_key(host), at, id)
  due_at_host(host)
end

local function unschedule(id, host)
  call('ZREM', OUTBOX, id)
  call('HDEL', OUTBOX_HELD, id)
  if host then
    call('ZREM', host_outbox_key(host), id)
    due_at_host(host)
  end
end

-- Removes a delivery from wherever it is named. Answers 1 when its record was still there.
local function forget_delivery(t, id)
  unschedule(id, call('HGET', delivery_key(id), 'host'))
  call('ZREM', DELIVERIES, id)
  for _, state in ipairs({ 'pending', 'sent', 'failed' }) do call('ZREM', deliveries_key(state), id) end
  call('ZREM', DELIVERIES_EXPIRY, t .. '|' .. id)
  call('ZREM', task_deliveries_key(t), id)
  return call('DEL', delivery_key(id))
end

local function delivery_id(run, url) return run .. '-' .. string.sub(redis.sha1hex(url), 1, 16) end

local function put_delivery(id, url, host, t, n, run, status, reuse, stage)
  call('HSET', delivery_key(id), 'url', url, 'host', host, 'task', t, 'name', n, 'run', run, 'status', status,
    'reuse', reuse, 'stage', stage, 'created', int(NOW), 'attempts', '0', 'take', '0', 'next', int(NOW), 'state',
    'pending')
  schedule(id, host, int(NOW))
  call('ZADD', DELIVERIES, int(NOW), id)
  call('ZADD', deliveries_key('pending'), int(NOW), id)
  call('ZADD', task_deliveries_key(t), int(NOW), id)
end

-- Writes a stage's public JSON again in place, with the expiry it has, when it is still the one we wrote.
local function project_again(t, n, r)
  local head = projection_head(t, n, r)
  local start = redis.pcall('GETRANGE', projection_key(t, n), 0, #head - 1)
  if start ~= head then return end
  local left = call('PTTL', projection_key(t, n))
  project(t, n, r)
  if left > 0 then call('PEXPIRE', projection_key(t, n), left) end
end

-- The state of a delivery, as task and stage show it: that of the newest request which asked for one. The public JSON
-- of a stage shows that of the newest for its run, because a hit does not rewrite it (C2).
local function show_callback(t, n, id, state)
  if call('HGET', task_key(t), 'callback_id') == id then call('HSET', task_key(t), 'callback_status', state) end
  local r = load(t, n)
  if not r then return end
  if r.callback_id == id and r.callback_status ~= state then change(t, n, r, { callback_status = state }) end
  if r.run_callback_id == id and r.run_callback_status ~= state then
    change(t, n, r, { run_callback_status = state })
    project_again(t, n, r)
  end
  emit(t, n, r, 'callback')
end

-- `reuse_info` of a request that waited for a run; `run` is nil for a stage that another worker ran.
local function joined_json(n, run)
  return '{"reuse_hit":true,"task_name":"' .. n .. '","source":"redis","cached_at":null,"state":"pending"'
    .. (run and (',"run_id":' .. quoted(run)) or '') .. '}'
end

-- One delivery for each distinct URL that asked for this run (C3), told how the run ended. The fields `cb:<url>` hold
-- who asked first, whoever started the run or somebody who joined it, and the host: `started <host>`.
local function deliver_run(t, n, r, state, output, error, duration_ms)
  local stage
  local gone = {}
  for field, asked in pairs(r) do
    if string.sub(field, 1, 3) == 'cb:' then
      local url = string.sub(field, 4)
      local how, host = string.match(asked, '^(%a+) (.+)$')
      stage = stage or ('{' .. stage_body(r, state, output, error, duration_ms) .. '}')
      local reuse
      if how == 'started' then
        reuse = '{"reuse_hit":false,"task_name":"' .. n .. '","reason":' .. quoted(r.reason) .. ',"run_id":'
          .. quoted(r.run) .. '}'
      else
        reuse = joined_json(n, r.run)
      end
      put_delivery(delivery_id(r.run, url), url, host or url, t, n, r.run, TASK_STATUS[state], reuse, stage)
      gone[#gone + 1] = field
    end
  end
  for _, field in ipairs(gone) do r[field] = nil end
  if #gone > 0 then call('HDEL', stage_key(t, n), unpack(gone)) end
end

-- Callbacks about a result whose files go to the object store leave once they are there, so that the receiver gets their
-- URLs; until then they stay in the record. The stages they wait for are in AWAITED, by the time after which
-- they wait no longer for an upload that is not heard of.
local UPLOAD_SILENT_MS = 600000

local function await_upload(t, n)
  call('ZADD', AWAITED, int(NOW + UPLOAD_SILENT_MS), queue_member(t, n))
end

-- They leave, with what there is; `r` may be nil. Answers whether there were any.
local function deliver_uploaded(t, n, r)
  if not r or r.awaits_upload ~= '1' then return false end
  call('ZREM', AWAITED, queue_member(t, n))
  deliver_run(t, n, r, 'SUCCESS', r.res_output, nil, r.res_duration_ms)
  change(t, n, r, { awaits_upload = false })
  return true
end

-- Callbacks that wait for a stage which somebody else runs are kept by URL in `watch_key`, for they have no run of ours.
local function forget_watched(t, n)
  call('ZREM', WATCHES, queue_member(t, n))
  return call('DEL', watch_key(t, n))
end

-- One delivery for each, told how the stage ended. Answers the id of one, if any, and their number.
local function deliver_watched(t, n, r, state, output, error, duration_ms)
  local waiting = call('HGETALL', watch_key(t, n))
  local stage = '{' .. stage_body(r, state, output, error, duration_ms) .. '}'
  local id
  for i = 1, #waiting, 2 do
    -- The time tells it from one about an earlier end.
    id = delivery_id('foreign-' .. int(NOW), t .. '|' .. n .. '|' .. waiting[i])
    put_delivery(id, waiting[i], waiting[i + 1], t, n, '', TASK_STATUS[state],
      joined_json(n, nil), stage)
  end
  forget_watched(t, n)
  return id, #waiting / 2
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
    fields.res_run = r.run
    fields.res_attempt = r.attempt
    fields.res_started = int(started)
    fields.res_ended = int(NOW)
    fields.res_duration_ms = duration
    fields.res_input_pub = r.input_pub
    fields.res_fp = r.fp or false
    fields.res_in_files = given.in_files or false
    fields.res_in_sources = given.in_sources or false
    fields.res_output = given.output
    fields.res_reusable = given.reusable
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
  change(t, n, r, fields)
  if r.awaits_upload ~= '1' then
    deliver_run(t, n, r, outcome, outcome == 'SUCCESS' and r.res_output or '{}', r.error, duration)
  end
  if stands then
    change(t, n, r, { state = 'SUCCESS', run = r.res_run or false, attempt = r.res_attempt or '1',
      started = r.res_started or false, ended = r.res_ended or false, duration_ms = r.res_duration_ms or '0',
      input = r.res_input or r.input or false, res_input = false, input_pub = r.res_input_pub or '{}', fp = r.res_fp or false, runner = r.res_runner or false, progress = '100',
      error = false, error_short = false,
      last_attempt = '{"status":"' .. outcome .. '","error":' .. (given.error or 'null') .. ',"run_id":'
        .. quoted(r.run) .. ',"ended_at":' .. iso(NOW) .. '}' })
  end
  project(t, n, r)
  call('EXPIRE', stage_key(t, n), A.ttl)
  call('HINCRBY', STATS, 'ended:' .. outcome, 1)
  settle(t)
  return emit(t, n, r, kind)
end
