-- The stage record: read, found damaged, changed; and its summary in lists and events.

-- The status that clients see, by the state of a record.
local TASK_STATUS = { PENDING = 'pending', RUNNING = 'running', SUCCESS = 'completed', FAILED = 'failed',
  CANCELLED = 'cancelled' }

-- Fields of a record by what they can hold.
local NUMBER_FIELDS = { 'attempt', 'rev', 'projected', 'gen', 'hits', 'joins', 'runs', 'lost', 'saved_ms', 'queued',
  'started', 'ended', 'created', 'duration_ms', 'progress', 'qseq', 'lease', 'res_attempt', 'res_started', 'res_ended',
  'res_duration_ms', 'res_warnings', 'res_retryable' }
local WORD_FIELDS = { 'run', 'queue', 'runner', 'reason', 'callback_status', 'res_run', 'res_runner' }
local SHORT_TEXT_FIELDS = { 'message', 'error_short' }

-- Removes from `record` the fields that cannot be what was written there, so that no decision is based on them and none
-- stops a script in the middle. Answers the name of the first one; nil where all are right. A wrong `state` is only
-- named.
local function drop_damaged_fields(record) -- rare
  local damage = not TASK_STATUS[record.state or ''] and 'state' or nil
  local find = string.find
  -- Most values are there more than once. Each is checked once, and what is right as a number is so as a word.
  local checked = {}
  local function drop_unlike(fields, pattern)
    for position = 1, #fields do
      local field = fields[position]
      local value = record[field]
      if value and not checked[value] then
        if find(value, pattern) then
          checked[value] = true
        else
          damage = damage or field
          record[field] = nil
        end
      end
    end
  end
  drop_unlike(NUMBER_FIELDS, '^%d+%.?%d*$')
  drop_unlike(WORD_FIELDS, '^[%w_.:-]*$')
  for position = 1, #SHORT_TEXT_FIELDS do
    local field = SHORT_TEXT_FIELDS[position]
    local text = record[field]
    if text and not (find(text, '^"') and pcall(cjson.decode, '[' .. text .. ']')) then
      damage = damage or field
      record[field] = nil
    end
  end
  return damage
end

-- Answers a hash as a table; nil where there is none, and as the second value what is wrong with the key.
-- Reads: `key`.
local function read_hash(key)
  local flat = redis.pcall('HGETALL', key)
  if flat.err then return nil, 'it is no hash' end
  if #flat == 0 then return nil end
  local hash = {}
  for position = 1, #flat, 2 do hash[flat[position]] = flat[position + 1] end
  return hash
end

-- Answers the record of a stage; nil where there is none. Its `damage` names what cannot be right, if anything.
-- Reads: stage_key.
local function load_record(task, node)
  local record, wrong = read_hash(stage_key(task, node))
  if wrong then return { damage = wrong } end
  if record then record.damage = drop_damaged_fields(record) end
  return record
end

-- Answers these fields of a record as a table, unchecked; nil where it has none of them.
-- Reads: stage_key.
local function read_fields(task, node, fields)
  local values = call('HMGET', stage_key(task, node), unpack(fields))
  local record
  for position = 1, #fields do
    local value = values[position]
    if value then
      record = record or {}
      record[fields[position]] = value
    end
  end
  return record
end

-- Does the same as `load_record` for these fields alone: what a record holds of input and output can be large.
-- Reads: stage_key.
local function load_record_fields(task, node, fields)
  local record = read_fields(task, node, fields)
  if record and record.state then record.damage = drop_damaged_fields(record) end
  return record
end

-- Whether a run waits or runs in this state of a record.
local function is_in_flight(state) return state == 'PENDING' or state == 'RUNNING' end

-- Writes those of the fields (false removes one) that differ from `record` to the stage and to `record`, and counts the
-- revision. So `record` has nothing that the stage does not have, except the revision and what is no field. With
-- `projected` set to true the public JSON, which the caller writes next, shows this revision.
-- Writes: stage_key.
local function update_record(task, node, record, fields)
  fields.rev = format_integer(tonumber(record.rev or 0) + 1)
  if fields.projected then fields.projected = fields.rev end
  local set, removed, count = {}, {}, 0
  for field, value in pairs(fields) do
    if value == false then
      if record[field] ~= nil or record.damage then removed[#removed + 1] = field end
      record[field] = nil
    elseif record[field] ~= value then
      set[count + 1] = field
      set[count + 2] = value
      count = count + 2
      record[field] = value
    end
  end
  call_in_chunks('HSET', stage_key(task, node), set)
  call_in_chunks('HDEL', stage_key(task, node), removed)
end

-- Answers the input as views show it: it is kept separately only where it differs from what was sent.
local function get_public_input(record) return record.input_pub or record.input or '{}' end

-- The fields that `build_summary_json` needs.
local SUMMARY_FIELDS = { 'state', 'run', 'attempt', 'rev', 'queue', 'runner', 'progress', 'message', 'reason', 'restore',
  'hits', 'joins', 'saved_ms', 'queued', 'started', 'ended', 'duration_ms', 'error_short', 'callback_status',
  'res_warnings', 'res_retryable' }

-- Builds what a summary says of the warnings of the output that views show, as the end of a JSON object; empty where it
-- has none.
local function build_warnings_json(record)
  local stands = record.state == 'SUCCESS' or record.restore == '1'
  if not stands or (tonumber(record.res_warnings) or 0) == 0 then return '' end
  return ',"warnings":' .. record.res_warnings .. (record.res_retryable == '1' and ',"warnings_retryable":true' or '')
end

-- Builds what a summary says of a stage beside what a hit changes, in five parts: what stands before the revision,
-- before reuse_hits, before saved_seconds, before callback_status and after that.
local function build_summary_parts(record)
  return '{"status":"' .. record.state .. '","run_id":' .. quote_text(record.run) .. ',"attempt":'
      .. (record.attempt or '1') .. ',"revision":',
    ',"queue":"' .. (record.queue or '') .. '","runner":' .. quote_text(record.runner) .. ',"progress":'
      .. (record.progress or 'null') .. ',"message":' .. (record.message or 'null') .. ',"reason":'
      .. quote_text(record.reason) .. ',"forced":'
      .. ((record.restore == '1' and is_in_flight(record.state)) and 'true' or 'false') .. ',"reuse_hits":',
    ',"joins":' .. (record.joins or '0') .. ',"saved_seconds":',
    ',"queued_at":' .. format_time(record.queued) .. ',"started_at":' .. format_time(record.started) .. ',"ended_at":'
      .. format_time(record.ended) .. ',"duration":' .. format_seconds(record.duration_ms) .. ',"error":'
      .. (record.error_short or 'null') .. ',"callback_status":',
    build_warnings_json(record) .. '}'
end

-- Joins these parts of a summary with what a hit changes.
local function join_summary_parts(record, before_revision, before_hits, before_saved, before_callback, after_callback)
  return before_revision .. (record.rev or '0') .. before_hits .. (record.hits or '0') .. before_saved
    .. format_seconds(record.saved_ms) .. before_callback .. quote_text(record.callback_status) .. after_callback
end

-- Builds the summary of a stage in lists and events, as JSON.
local function build_summary_json(record)
  if record.damage then
    return '{"status":"' .. (TASK_STATUS[record.state or ''] and record.state or 'FAILED') .. '","run_id":'
      .. quote_text(record.run) .. ',"attempt":' .. (record.attempt or '1') .. ',"revision":' .. (record.rev or '0')
      .. ',"queue":"' .. (record.queue or '') .. '","reuse_hits":0,"joins":0,'
      .. '"saved_seconds":0,"started_at":' .. format_time(record.started) .. ',"ended_at":' .. format_time(record.ended)
      .. ',"duration":0,"error":'
      .. '"the record is damaged: ' .. record.damage .. '","damaged":"' .. record.damage .. '"}'
  end
  return join_summary_parts(record, build_summary_parts(record))
end
