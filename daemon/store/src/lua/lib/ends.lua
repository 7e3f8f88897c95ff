-- Ends of runs. What callbacks report of an end is kept once, in `end_key`, however many ask for it, and its input and
-- output only once the record of the stage does not hold them any more: until then they are read from there when a
-- callback is sent. `pending` counts the deliveries that are to be sent, `kept` says that one may be sent again.

-- Builds the id of the end by which callbacks report the result that stands.
local function build_result_end_id(task, node, record)
  return record.res_run or ('foreign:' .. task .. '|' .. node .. '|' .. (record.res_ended or ''))
end

-- Creates an end with these fields, unless it exists.
-- Reads, writes: end_key.
local function create_end(id, fields)
  if call('EXISTS', end_key(id)) == 1 then return end
  local set = {}
  for field, value in pairs(fields) do
    set[#set + 1] = field
    set[#set + 1] = value
  end
  call('HSET', end_key(id), unpack(set))
end

-- Creates the end of the result that stands, unless it exists. Answers its id.
-- Reads, writes: end_key.
local function create_result_end(task, node, record)
  local id = build_result_end_id(task, node, record)
  create_end(id, { task = task, name = node, state = 'SUCCESS', run = record.res_run or '',
    token = build_result_token(record.res_run, record.res_attempt, record.res_ended),
    duration_ms = record.res_duration_ms or '0' })
  return id
end

-- Adds `difference` to the number of deliveries that are to be sent of an end, and deletes an end that nobody needs.
-- Reads: FAN_OUTS. Reads, writes: end_key. Arguments: ttl.
local function count_end_deliveries(id, difference)
  local key = end_key(id)
  if call('EXISTS', key) == 0 then return end
  if tonumber(call('HINCRBY', key, 'pending', difference)) > 0 then
    call('PERSIST', key)
  elseif call('ZSCORE', FAN_OUTS, id) then
    return
  elseif call('HEXISTS', key, 'kept') == 1 then
    -- It lives longer than any of its deliveries.
    call('PEXPIRE', key, format_integer(tonumber(args.ttl) * 1000 + 60000))
  else
    call('DEL', key)
  end
end

-- The fields of a record that an end is completed with.
local RESULT_FIELDS = { 'state', 'restore', 'run', 'input', 'input_pub', 'res_run', 'res_attempt', 'res_ended', 'res_input',
  'res_input_pub', 'res_output' }

-- Answers input and output of an end; nothing where they are not known any more.
-- Reads: stage_key.
local function read_end_values(ending)
  if ending.input then return ending.input, ending.output end
  local record = load_record_fields(ending.task, ending.name, RESULT_FIELDS)
  if not record then return nil end
  if ending.state ~= 'SUCCESS' then
    if record.run ~= ending.run then return nil end
    return get_public_input(record), '{}'
  end
  local stands = record.state == 'SUCCESS' or record.restore == '1'
  local token = build_result_token(record.res_run, record.res_attempt, record.res_ended)
  if not stands or token ~= ending.token then return nil end
  if record.state == 'SUCCESS' then return get_public_input(record), record.res_output end
  return record.res_input_pub or record.res_input or '{}', record.res_output
end

-- Answers an end as a table; nil for one that does not exist or cannot be right.
-- Reads: end_key.
local function read_end(id)
  local ending = read_hash(end_key(id))
  return ending and TASK_STATUS[ending.state or ''] and ending.task and ending.name and ending or nil
end

-- Copies input and output to an end that callbacks still report, before the record is overwritten.
-- Reads: stage_key, FAN_OUTS. Reads, writes: end_key.
local function preserve_end(id)
  local counted = call('HMGET', end_key(id), 'pending', 'kept')
  if tonumber(counted[1] or 0) <= 0 and not counted[2] and not call('ZSCORE', FAN_OUTS, id) then return end
  local ending = read_end(id)
  if not ending then return end
  local input, output = read_end_values(ending)
  if input then call('HSET', end_key(id), 'input', input, 'output', output or '{}') end
end

-- Does the same as `preserve_end` for the end that the record has now.
-- Reads: stage_key, FAN_OUTS. Reads, writes: end_key.
local function preserve_current_end(task, node, record) -- rare
  if record and record.state == 'SUCCESS' then
    preserve_end(build_result_end_id(task, node, record))
  elseif record and record.run then
    preserve_end(record.run)
  end
end

-- Builds the stage as its run left it, as JSON; nil where that is not known any more.
-- Reads: end_key, stage_key.
local function build_end_stage_json(id)
  local ending = read_end(id)
  if not ending then return nil end
  local input, output = read_end_values(ending)
  if not input then return nil end
  return '{"status":"' .. ending.state .. '","input_params":' .. input .. ',"output":' .. (output or '{}') .. ',"error":'
    .. (ending.error or 'null') .. ',"duration":' .. format_seconds(ending.duration_ms) .. '}'
end
