-- Hits: requests that are answered with the result that stands.

-- The fields of a record that a hit needs, and those of its summary. Input and output, which can be large, and the list
-- of files are not among them.
local HIT_FIELDS = { 'fp', 'projected', 'seen', 'seen_older', 'res_reusable', 'res_run', 'res_attempt', 'res_ended',
  'res_duration_ms', 'res_fp', 'res_in_files', 'res_in_sources', unpack(SUMMARY_FIELDS) }

-- Whether the request has the input of the record. Inputs with the same fingerprint are equal; where the record has no
-- fingerprint, the texts are compared.
-- Reads: stage_key. Arguments: fp, input_pub.
local function has_input_of_record(task, node, record)
  if record.fp then return record.fp == args.fp end
  local input = call('HMGET', stage_key(task, node), 'input_pub', 'input')
  return args.input_pub == get_public_input({ input_pub = input[1] or nil, input = input[2] or nil })
end

-- Makes this request the newest of the task, and writes nothing where it says what the one before said. Its input is
-- kept in the task only where it is not that of the record.
-- Reads: stage_key. Reads, writes: task_key. Arguments: fp, input_pub, callback.
local function remember_request(task, node, record)
  local known = call('HMGET', task_key(task), 'newest', 'req_callback', 'req_input')
  if known[1] ~= node or known[2] ~= args.callback then
    call('HSET', task_key(task), 'newest', node, 'req_callback', args.callback)
  end
  if not has_input_of_record(task, node, record) then
    if known[3] ~= args.input_pub then call('HSET', task_key(task), 'req_input', args.input_pub) end
  elseif known[3] then
    call('HDEL', task_key(task), 'req_input')
  end
end

-- Answers a request with the result that stands, as `decide_reuse` has decided: {'hit', number of the event,
-- input_changed, token of the result}. `fields` are those of the record that change beside its counts.
-- Reads: foreign_key. Reads, writes: task_key. Writes: stage_key, STATS, EVENT_SEQUENCE, EVENTS. Arguments: db,
-- keep_events, fp, input_pub, callback.
local function reuse_result(task, node, record, fields)
  local saved = record.res_duration_ms or '0'
  fields.hits = format_integer(tonumber(record.hits or 0) + 1)
  fields.saved_ms = format_integer(tonumber(record.saved_ms or 0) + tonumber(saved))
  update_record(task, node, record, fields)
  call('HINCRBY', STATS, 'hits', 1)
  if saved ~= '0' then call('HINCRBY', STATS, 'saved_ms', saved) end
  remember_request(task, node, record)
  return { 'hit', publish_event(task, node, record, 'hit'), record.input_changed,
    build_result_token(record.res_run, record.res_attempt, record.res_ended) }
end
