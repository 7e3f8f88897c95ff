-- The public JSON of a stage (S1), which is put together from fragments and never re-encoded.

-- Builds the beginning of the stage's public JSON. A JSON that begins otherwise was written by another worker.
local function build_public_json_head(task, node, record)
  return '{"workflow_id":"' .. task .. '","stages":{"' .. node .. '":{"revision":' .. (record.projected or '0')
    .. ',"run_id":' .. quote_text(record.run) .. ','
end

-- Answers the hash of the JSON at `key`, and the JSON; nil where there is none. A record keeps, as `seen` and
-- `seen_older`, the hashes of what lay under both spellings when it was last adopted or run: only others are news.
-- Reads: `key`.
local function hash_json_at(key)
  local json = redis.pcall('GET', key)
  if not json or type(json) == 'table' then return nil end
  return redis.sha1hex(json), json
end

-- Whether a worker wrote the JSON for a run that we sent to it: its storage is the folder of that run, which it got from
-- us. What came of the run is known from the worker's answer. Rust's `is_of_sent_run` says the same.
local function is_of_sent_run(task, json)
  local path = string.match(json, '"shared_storage_path"%s*:%s*"([^"]*)"')
  return path and string.find(path, '/' .. task .. '/runs/', 1, true) ~= nil
end

-- Answers the output that a reader may use: of the success that stands, also while a forced rerun is under way (R8).
local function get_standing_output(record)
  if record.state == 'SUCCESS' or record.restore == '1' then return record.res_output or '{}' end
  return '{}'
end

-- Whether the result of this attempt is the one that stands (R7).
local function is_standing_result(record, run, attempt)
  return record and record.res_run == run and record.res_attempt == attempt
    and (record.state == 'SUCCESS' or record.restore == '1')
end

-- Builds the name of the result that stands, which the next one does not have; empty where there is none.
local function build_result_token(run, attempt, ended)
  if not ended then return '' end
  return (run or '') .. '/' .. (attempt or '') .. '/' .. ended
end

-- Answers the files of the result that stands which are at the object store, as a JSON array; `null` where there are
-- none.
local function get_standing_files(record)
  if record.res_files and (record.state == 'SUCCESS' or record.restore == '1') then
    return '[' .. record.res_files .. ']'
  end
  return 'null'
end

-- Bytes of the largest input that the public JSON has twice; a larger one it has only under the stage.
local LARGEST_REPEATED_INPUT = 65536

-- Writes the public JSON of the stage (S1), with an expiry.
-- Writes: public_json_key; stage_key (`projected`, the revision that it shows). Arguments: ttl.
local function write_public_json(task, node, record)
  if record.projected ~= record.rev then
    call('HSET', stage_key(task, node), 'projected', record.rev)
    record.projected = record.rev
  end
  local created = format_time(record.created)
  local error = record.error or 'null'
  local public_input = get_public_input(record)
  local input = #public_input > LARGEST_REPEATED_INPUT and '{}' or public_input
  -- In one step: Lua reads each text that it puts together once more.
  local json = build_public_json_head(task, node, record) .. '"status":"' .. record.state .. '","input_params":'
    .. public_input .. ',"output":' .. get_standing_output(record) .. ',"error":' .. error .. ',"duration":'
    .. format_seconds(record.duration_ms) .. ',"attempt":' .. (record.attempt or '1') .. ',"runner":'
    .. quote_text(record.runner) .. ',"progress":' .. (record.progress or 'null') .. ',"started_at":'
    .. format_time(record.started) .. ',"ended_at":' .. format_time(record.ended) .. '}},"task_id":"' .. task
    .. '","status":"' .. TASK_STATUS[record.state] .. '","create_at":' .. created .. ',"created_at":' .. created
    .. ',"updated_at":' .. format_time(NOW_DIGITS) .. ',"input_params":{"task_name":"' .. node .. '","input_data":'
    .. input .. ',"callback_url":' .. (record.callback or 'null') .. '},"shared_storage_path":'
    .. (record.path or 'null') .. ',"error":' .. error .. ',"minio_files":' .. get_standing_files(record)
    .. ',"callback_status":' .. quote_text(record.run_callback_status) .. '}'
  call('SET', public_json_key(task, node), json, 'EX', args.ttl)
end

-- Writes the stage's public JSON again with the expiry that it has, if it is still the one that we wrote.
-- Reads, writes: public_json_key. Writes: stage_key (`projected`). Arguments: ttl.
local function rewrite_public_json(task, node, record)
  local head = build_public_json_head(task, node, record)
  local start = redis.pcall('GETRANGE', public_json_key(task, node), 0, #head - 1)
  if start ~= head then return end
  local left = call('PTTL', public_json_key(task, node))
  write_public_json(task, node, record)
  if left > 0 then call('PEXPIRE', public_json_key(task, node), left) end
end
