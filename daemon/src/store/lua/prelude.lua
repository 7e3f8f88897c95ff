-- What every script shares: key names, the stage record, its public projection, indexes, events. `outbox` and `ending`
-- follow it in every script.
--
-- Arguments come as pairs (name, value) and are read from `A`; lists among them are JSON arrays. Each script checks
-- everything before its first write, because an error in the middle is not rolled back, and that write is one which a full
-- Redis refuses, because after another it would take them all. JSON is put together from fragments the
-- daemon supplied, never re-encoded. Numbers are written with %.0f: Lua's own spelling of a time in
-- milliseconds has an exponent.

local A = {}
for i = 1, #ARGV, 2 do A[ARGV[i]] = ARGV[i + 1] end

local call = redis.call

local function int(n) return string.format('%.0f', n) end

-- Calls a command for a key with any number of values: `unpack` takes some thousands at a time. Pairs stay together.
local CHUNK = 1000

local function call_with_all(command, key, values)
  for from = 1, #values, CHUNK do
    call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

-- The items of an argument that is a list.
local function each(list) return ipairs(cjson.decode(list)) end

local clock = call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function stage_key(t, n) return 'onceover:stage:' .. t .. ':' .. n end
local function task_key(t) return 'onceover:task:' .. t end
local function stages_key(t) return 'onceover:task:' .. t .. ':stages' end
local function task_deliveries_key(t) return 'onceover:task:' .. t .. ':deliveries' end
local function queue_key(q) return 'onceover:queue:' .. q end
local function held_key(q) return 'onceover:held:' .. q end
local function callbacks_key(t, n) return 'onceover:callbacks:' .. t .. ':' .. n end
local function end_key(id) return 'onceover:end:' .. id end
local function telling_key(id) return 'onceover:telling:' .. id end
local TELLING = 'onceover:telling'
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

-- The first write of a script whose other ones would not do as the first, and that a full Redis therefore would take.
local function begin() call('HSETNX', STATS, 'hits', '0') end

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
  ms = tonumber(ms)
  if not ms then return 'null' end
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

local function seconds(ms) return string.format('%.3f', (tonumber(ms) or 0) / 1000) end

-- Only for text of a harmless alphabet: states, ids, node names, queue names, reasons.
local function quoted(text) return text and ('"' .. text .. '"') or 'null' end

-- The stage record

local TASK_STATUS = { PENDING = 'pending', RUNNING = 'running', SUCCESS = 'completed', FAILED = 'failed',
  CANCELLED = 'cancelled' }

local NUMBERS = { 'attempt', 'rev', 'projected', 'gen', 'hits', 'joins', 'runs', 'lost', 'saved_ms', 'queued', 'started', 'ended',
  'created', 'duration_ms', 'progress', 'qseq', 'lease', 'res_attempt', 'res_started', 'res_ended', 'res_duration_ms', 'res_warnings',
  'res_retryable' }
local WORDS = { 'run', 'queue', 'runner', 'reason', 'callback_status', 'res_run', 'res_runner' }
local SHORT_TEXTS = { 'message', 'error_short' }

-- What of a stage's record cannot be what was written there, by name; nil where nothing is. Such fields are taken out of `r`,
-- so that nothing goes by them, and none stops a script in the middle.
local function damage_of(r)
  local damage
  local function drop(field)
    damage = damage or field
    r[field] = nil
  end
  if not TASK_STATUS[r.state or ''] then damage = 'state' end
  for _, field in ipairs(NUMBERS) do
    if r[field] and not string.find(r[field], '^%d+%.?%d*$') then drop(field) end
  end
  for _, field in ipairs(WORDS) do
    if r[field] and not string.find(r[field], '^[%w_.-]*$') then drop(field) end
  end
  for _, field in ipairs(SHORT_TEXTS) do
    if r[field] and not (string.sub(r[field], 1, 1) == '"' and pcall(cjson.decode, '[' .. r[field] .. ']')) then drop(field) end
  end
  return damage
end

-- Reads a hash as a table; nil where there is none, and as the second value what is wrong with the key.
local function read_hash(key)
  local flat = redis.pcall('HGETALL', key)
  if flat.err then return nil, 'it is no hash' end
  if #flat == 0 then return nil end
  local r = {}
  for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
  return r
end

-- Answers the record, or nil. `damage` of it names what cannot be right, if anything.
local function load(t, n)
  local r, wrong = read_hash(stage_key(t, n))
  if wrong then return { damage = wrong } end
  if r then r.damage = damage_of(r) end
  return r
end

-- As `load`, of these fields alone: what a record holds of input and output can be large.
local function load_some(t, n, fields)
  local values = call('HMGET', stage_key(t, n), unpack(fields))
  local r
  for i, field in ipairs(fields) do
    if values[i] then
      r = r or {}
      r[field] = values[i]
    end
  end
  if r and r.state then r.damage = damage_of(r) end
  return r
end

local function in_flight(state) return state == 'PENDING' or state == 'RUNNING' end

-- Writes the changed fields (false removes one) and counts the revision.
local function change(t, n, r, fields)
  fields.rev = int(tonumber(r.rev or 0) + 1)
  local set, gone = {}, {}
  for field, value in pairs(fields) do
    if value == false then
      if r[field] ~= nil or r.damage then gone[#gone + 1] = field end
      r[field] = nil
    else
      set[#set + 1] = field
      set[#set + 1] = value
      r[field] = value
    end
  end
  call_with_all('HSET', stage_key(t, n), set)
  call_with_all('HDEL', stage_key(t, n), gone)
end

-- The input as it is shown: kept by itself only where it differs from what was sent.
local function public_input(r) return r.input_pub or r.input or '{}' end

local SUMMARY_FIELDS = { 'state', 'run', 'attempt', 'rev', 'queue', 'runner', 'progress', 'message', 'reason', 'restore', 'hits',
  'joins', 'saved_ms', 'queued', 'started', 'ended', 'duration_ms', 'error_short', 'callback_status', 'res_warnings', 'res_retryable' }

-- What is said of the warnings of the output that views show, as the end of a JSON object; nothing where it has none.
local function warned(r)
  if not (r.state == 'SUCCESS' or r.restore == '1') or (tonumber(r.res_warnings) or 0) == 0 then return '' end
  return ',"warnings":' .. r.res_warnings .. (r.res_retryable == '1' and ',"warnings_retryable":true' or '')
end

local function summary(r)
  if r.damage then
    return '{"status":"' .. (TASK_STATUS[r.state or ''] and r.state or 'FAILED') .. '","run_id":' .. quoted(r.run) .. ',"attempt":'
      .. (r.attempt or '1') .. ',"revision":' .. (r.rev or '0') .. ',"queue":"' .. (r.queue or '') .. '","reuse_hits":0,"joins":0,'
      .. '"saved_seconds":0,"started_at":' .. iso(r.started) .. ',"ended_at":' .. iso(r.ended) .. ',"duration":0,"error":'
      .. '"the record is damaged: ' .. r.damage .. '","damaged":"' .. r.damage .. '"}'
  end
  return '{"status":"' .. r.state .. '","run_id":' .. quoted(r.run) .. ',"attempt":' .. (r.attempt or '1')
    .. ',"revision":' .. (r.rev or '0') .. ',"queue":"' .. (r.queue or '') .. '","runner":' .. quoted(r.runner)
    .. ',"progress":' .. (r.progress or 'null')
    .. ',"message":' .. (r.message or 'null') .. ',"reason":' .. quoted(r.reason)
    .. ',"forced":' .. ((r.restore == '1' and in_flight(r.state)) and 'true' or 'false')
    .. ',"reuse_hits":' .. (r.hits or '0') .. ',"joins":' .. (r.joins or '0')
    .. ',"saved_seconds":' .. seconds(r.saved_ms) .. ',"queued_at":' .. iso(r.queued) .. ',"started_at":'
    .. iso(r.started) .. ',"ended_at":' .. iso(r.ended) .. ',"duration":' .. seconds(r.duration_ms) .. ',"error":'
    .. (r.error_short or 'null') .. ',"callback_status":' .. quoted(r.callback_status) .. warned(r) .. '}'
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
  return '"status":"' .. state .. '","input_params":' .. public_input(r) .. ',"output":' .. output
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

-- An input of more bytes is in the public JSON once, under the stage.
local INPUT_SHOWN_TWICE = 65536

-- Writes the public JSON of the stage (S1), with its own expiry.
local function project(t, n, r)
  local input = public_input(r)
  if #input > INPUT_SHOWN_TWICE then input = '{}' end
  local rev = r.rev
  call('HSET', stage_key(t, n), 'projected', rev)
  r.projected = rev
  local json = projection_head(t, n, r) .. stage_body(r, r.state, standing_output(r), r.error, r.duration_ms)
    .. '}},"task_id":"' .. t .. '","status":"' .. TASK_STATUS[r.state] .. '","create_at":' .. iso(r.created)
    .. ',"created_at":' .. iso(r.created) .. ',"updated_at":' .. iso(NOW) .. ',"input_params":{"task_name":"' .. n
    .. '","input_data":' .. input .. ',"callback_url":' .. (r.callback or 'null')
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
  if not state then return nil end
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

-- As the owner of a run has measured: pairs of folder and bytes. Not for a task that is gone.
local function measured(t, told)
  if not told or call('EXISTS', task_key(t)) == 0 then return end
  for _, pair in each(told) do count_disk(t, pair[1], pair[2]) end
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
  -- Where its hash is gone, nothing says where it stood.
  for _, one in pairs(status and { status } or TASK_STATUS) do call('ZREM', status_key(one), t) end
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
    local s = redis.pcall('HMGET', stage_key(t, n), 'state', 'ended')
    if s.err then s = { 'FAILED' } end
    if foreign[n] and not in_flight(s[1]) then s = { foreign[n].state } end
    if not s[1] then
      call('ZREM', stages_key(t), n)
      call('ZREM', node_key(n), t)
    elseif s[1] == 'RUNNING' then
      running = true
    elseif s[1] == 'PENDING' then
      waiting = true
    else
      local ended = tonumber(s[2]) or 0
      if ended >= last_ended then last, last_ended = TASK_STATUS[s[1]] and s[1] or 'FAILED', ended end
    end
  end
  local status = running and 'running' or waiting and 'pending' or last and TASK_STATUS[last]
  if not status then return forget_task(t) end
  local before = call('HMGET', task_key(t), 'status', 'created')
  if before[1] ~= status then
    if before[1] then call('ZREM', status_key(before[1]), t) end
    call('ZADD', status_key(status), tonumber(before[2]) and before[2] or int(NOW), t)
  end
  call('HSET', task_key(t), 'status', status, 'updated', int(NOW))
  if running or waiting then
    call('PERSIST', task_key(t))
    call('PERSIST', stages_key(t))
    call('ZREM', EXPIRY, t)
  else
    call('EXPIRE', task_key(t), A.ttl)
    -- So much longer that it is known where the task has to be forgotten.
    call('EXPIRE', stages_key(t), int(tonumber(A.ttl) + 60))
    call('ZADD', EXPIRY, int(NOW + tonumber(A.ttl) * 1000), t)
  end
end

-- Puts the stage into the indexes of its task; the task is made when it is new, as of `created` or now.
local function index_stage(t, n, order, created)
  created = created or int(NOW)
  if call('HSETNX', task_key(t), 'created', created) == 1 then call('ZADD', TASKS, created, t) end
  call('ZADD', stages_key(t), 'NX', order, n)
  local since = call('HGET', task_key(t), 'created')
  call('ZADD', node_key(n), 'NX', tonumber(since) and since or int(NOW), t)
end
