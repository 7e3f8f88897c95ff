-- The stage record: read, found damaged, changed; and its summary in lists and events.

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
