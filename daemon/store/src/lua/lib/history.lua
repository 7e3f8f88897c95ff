-- The runs of a stage that have ended, and are not the one that its record holds: in `history_key`, the newest last.
-- They are put there as the record is about to hold another run, so that most stages, which run once, have none. The
-- attempts of the run in the record that were lost are there, as `attempts`.

local function history_key(task, node) return 'onceover:history:' .. task .. ':' .. node end

-- Bytes of an error that is kept whole; of a longer one its beginning is.
local LONGEST_KEPT_ERROR = 8192

-- Bytes of input and output, as JSON, that are kept of a run. Rust's `MOST_RUN_BYTES` is the same.
local KEPT_VALUES_BYTES = 65536

-- Bytes of a run's lost attempts: those before are left out, of a run that is handed on again and again.
local LOST_ATTEMPTS_BYTES = 4096

-- Answers the lost attempts of the run in `record`, with the one that is lost now, as the items of a JSON array.
-- `error` is the inside of a JSON string.
local function append_lost_attempt(record, error)
  local started = tonumber(record.started) and record.started or NOW_DIGITS
  local lost = '{"attempt":' .. (record.attempt or '1') .. ',"started_at":' .. format_time(started) .. ',"ended_at":'
    .. format_time(NOW_DIGITS) .. ',"error":' .. quote_text(error) .. '}'
  local former = record.attempts
  -- No string has the beginning of an attempt: its quotes would be escaped there.
  while former and #former > LOST_ATTEMPTS_BYTES do former = string.match(former, '},({"attempt":.*)$') end
  return former and (former .. ',' .. lost) or lost
end

-- Builds the run that has ended and is in `record`, as JSON. What does not fit of its input and its output is left out.
local function build_ended_run_json(record)
  local room = KEPT_VALUES_BYTES
  local input = get_public_input(record)
  local has_input = #input <= room
  if has_input then room = room - #input end
  local succeeded = record.state == 'SUCCESS'
  local output = succeeded and record.res_output or 'null'
  local has_output = #output <= room
  local error = record.error or 'null'
  if #error > LONGEST_KEPT_ERROR then error = record.error_short or 'null' end
  return '{"run_id":' .. quote_text(record.run) .. ',"status":"' .. record.state .. '","attempt":'
    .. (record.attempt or '0') .. ',"created_at":' .. format_time(record.queued) .. ',"started_at":'
    .. format_time(record.started) .. ',"ended_at":' .. format_time(record.ended) .. ',"attempts":['
    .. (record.attempts or '') .. '],"error":' .. error .. ',"needs":' .. (record.needs or '[]') .. ',"took":'
    .. (record.took or '[]') .. ',"sources":' .. (succeeded and record.res_in_sources or '[]') .. ',"input":'
    .. (has_input and input or 'null') .. ',"output":' .. (has_output and output or 'null') .. ',"input_left_out":'
    .. tostring(not has_input) .. ',"output_left_out":' .. tostring(not has_output) .. '}'
end

-- Keeps the run of the record, which has ended, because the record is about to hold another one. The oldest beyond
-- `keep_runs` is dropped. What another worker ran has no run; `kept` names one that is there already. What is damaged
-- under the key keeps no run from its end.
-- Writes: history_key. Arguments: keep_runs.
local function keep_ended_run(task, node, record) -- rare
  if args.keep_runs == '0' or not record.run or record.kept == record.run then return end
  local key = history_key(task, node)
  if type(redis.pcall('RPUSH', key, build_ended_run_json(record))) == 'table' then return end
  call('LTRIM', key, '-' .. args.keep_runs, -1)
end

-- Lets what is kept of earlier runs expire with the record. A stage that has run once has none.
-- Writes: history_key. Arguments: ttl.
local function expire_history(task, node, record)
  if record.runs ~= '1' then call('EXPIRE', history_key(task, node), args.ttl) end
end
