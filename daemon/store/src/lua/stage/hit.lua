-- Answers requests with results that were reused before, where these stand and that is all there is to do: a request
-- has no callback, no idempotency key and no pipeline, and the files of its result were checked. Everything else is for
-- `submit`. Nothing is loaded that can be large or that is the same as at the hit before.
-- Arguments:
--   requests?                how many follow, if not one
-- and once for each request, one request after the other; equal ones are one with their `count`:
--   task, name
--   count?                   equal requests, of which each is a hit, if not one
--   mode, fp, in_files?      the reuse policy, and what the input is compared by
--   input_pub, callback?     the request's input as JSON, with secrets hidden; none
--   verified, generation     token of the result, and of runs of the stage, as `submit` answered them
--   summary                  format of the stage's summary: revision, hits, seconds saved and callback status as JSON
--   ignore?                  as for `submit`
-- Answers for each request {'hit', seq, input_changed} with the number of its last event, {'other'} with nothing
-- written, or {'failed', why}; each is a separate step, which another one that fails does not stop.

-- Publishes the events of so many hits, of which the last one is what `record` has now. Answers the number of the last.
local function publish_hits(task, node, record, count)
  local seq = call('INCRBY', EVENT_SEQUENCE, count)
  local start = ',"ts":' .. format_time(NOW_DIGITS) .. ',"task_id":"' .. task .. '","task_name":"' .. node
    .. '","kind":"hit","stage":'
  -- Without a callback that is to be sent no daemon acts upon it.
  local wakes_daemons = record.callback_status == 'pending'
  local status = quote_text(record.callback_status)
  local rev, hits, saved_ms = tonumber(record.rev), tonumber(record.hits), tonumber(record.saved_ms)
  local saved_by_one = tonumber(record.res_duration_ms or 0)
  for left = count - 1, 0, -1 do
    local number = format_integer(seq - left)
    local summary = string.format(args.summary, format_integer(rev - left), format_integer(hits - left),
      format_seconds(saved_ms - left * saved_by_one), status)
    publish_json(number, '{"v":1,"seq":' .. number .. start .. summary .. '}', wakes_daemons)
  end
  return seq
end

-- Whether another worker has neither written the stage nor has it in flight, beside what is known of it.
local function is_untouched(task, node, record)
  if call('EXISTS', foreign_key(task), older_public_json_key(task, node)) == 0 then
    local head = build_public_json_head(task, node, record)
    return not read_foreign_json(task, public_json_key(task, node), record.seen, head)
  end
  return call('HEXISTS', foreign_key(task), node) == 0 and not find_foreign_stage(task, node, record)
end

-- Answers the request that `args` has.
local function answer_request()
  local task, node = args.task, args.name
  -- The fields of a record that change without a new run, and those that reuse is decided by.
  local values = call('HMGET', stage_key(task, node), 'state', 'gen', 'rev', 'hits', 'saved_ms', 'callback_status',
    'run', 'projected', 'seen', 'seen_older', 'fp', 'res_run', 'res_attempt', 'res_ended', 'res_duration_ms',
    'res_reusable', 'res_retryable', 'res_fp', 'res_in_files', 'res_in_sources')
  local status = values[6]
  -- It is the result that was reused before, no run has begun since, and what will be written is right.
  if values[1] ~= 'SUCCESS' or (values[2] or '') ~= args.generation
    or build_result_token(values[12], values[13], values[14]) ~= args.verified
    or status and not string.find(status, '^%w+$') then
    return { 'other' }
  end
  local record = { state = 'SUCCESS', rev = values[3] or nil, hits = values[4] or nil, saved_ms = values[5] or nil,
    callback_status = status or nil, run = values[7] or nil, projected = values[8] or nil, seen = values[9] or nil,
    seen_older = values[10] or nil, fp = values[11] or nil, res_duration_ms = values[15] or nil,
    res_reusable = values[16], res_retryable = values[17], res_fp = values[18] or nil,
    res_in_files = values[19] or nil, res_in_sources = values[20] or nil }
  local reason, refusal = judge_result(task, record)
  if reason or refusal or not is_untouched(task, node, record) then return { 'other' } end
  local count = args.count or '1'
  count_hits(task, node, record, count)
  return { 'hit', publish_hits(task, node, record, count), record.input_changed }
end

-- Answers the request that `args` has; an error is its own alone.
local function try_request()
  local is_answered, answer = pcall(answer_request)
  if is_answered then return answer end
  -- An error of a command is a table, and in versions before 7 a text.
  return { 'failed', type(answer) == 'table' and answer.err or tostring(answer) }
end

if not args.requests then return { try_request() } end
-- The first request follows what all have in common.
local position = 1
while ARGV[position] ~= 'task' do position = position + 2 end
local answers = {}
-- luacheck: globals args
while ARGV[position] do
  args.in_files, args.count = nil, nil
  repeat
    args[ARGV[position]] = ARGV[position + 1]
    position = position + 2
  until not ARGV[position] or ARGV[position] == 'task'
  answers[#answers + 1] = try_request()
end
return answers
