-- Hits: requests that are answered with the result that stands.

-- Whether the request has the input of the record. Inputs with the same fingerprint are equal; where the record has no
-- fingerprint, the texts are compared.
-- Reads: stage_key. Arguments: fp, input_pub.
local function has_input_of_record(task, node, record)
  if record.fp then return record.fp == args.fp end
  local input = call('HMGET', stage_key(task, node), 'input_pub', 'input')
  return args.input_pub == get_public_input({ input_pub = input[1] or nil, input = input[2] or nil })
end

-- Makes this request the newest of the task, and writes nothing where it asks for the same as the one before. Its input
-- is kept in the task only where it is not that of the record.
-- Reads: stage_key. Reads, writes: task_key. Arguments: fp, input_pub, callback.
local function remember_request(task, node, record)
  local known = call('HMGET', task_key(task), 'newest', 'req_callback', 'req_input')
  local callback = args.callback or 'null'
  if known[1] ~= node or known[2] ~= callback then
    call('HSET', task_key(task), 'newest', node, 'req_callback', callback)
  end
  if not has_input_of_record(task, node, record) then
    if known[3] ~= args.input_pub then call('HSET', task_key(task), 'req_input', args.input_pub) end
  elseif known[3] then
    call('HDEL', task_key(task), 'req_input')
  end
end

-- Counts so many hits of the result that stands in the record, of the node and in all, and remembers the request.
-- Reads, writes: stage_key, task_key. Writes: STATS, durations_key. Arguments: fp, input_pub, callback.
local function count_hits(task, node, record, count)
  local saved_by_one = tonumber(record.res_duration_ms or 0)
  local saved = format_integer(saved_by_one * count)
  record.rev = format_integer(tonumber(record.rev or 0) + count)
  record.hits = format_integer(tonumber(record.hits or 0) + count)
  record.saved_ms = format_integer(tonumber(record.saved_ms or 0) + tonumber(saved))
  call('HSET', stage_key(task, node), 'rev', record.rev, 'hits', record.hits, 'saved_ms', record.saved_ms)
  call('HINCRBY', STATS, 'hits', count)
  if saved ~= '0' then call('HINCRBY', STATS, 'saved_ms', saved) end
  count_node_hits(node, count, saved)
  remember_request(task, node, record)
end
