-- Whether a result is reused: decided by submit, and by explain, which must agree with it. Nothing here writes.

-- Whether the stages that a result took values from still have the results that they had then; nil where that is
-- unknown.
-- Reads: stage_key.
local function has_unchanged_sources(task, record)
  if not record.res_in_sources then return nil end
  if record.res_in_sources == '[]' then return true end
  local known, sources = pcall(cjson.decode, record.res_in_sources)
  if not known or type(sources) ~= 'table' then return nil end
  for _, source in ipairs(sources) do
    local result = call('HMGET', stage_key(task, source[1]), 'res_run', 'res_attempt', 'res_ended')
    if build_result_token(result[1], result[2], result[3]) ~= source[2] then return false end
  end
  return true
end

-- Compares the input of the result with the request's: its text, the files that it names, the results of the stages
-- that it takes values from (R8). Answers 'true' where it has changed, 'false' where not, 'null' where a part is
-- unknown.
-- Reads: stage_key. Arguments: fp, in_files.
local function compare_input(task, record)
  if record.res_fp and args.fp ~= record.res_fp then return 'true' end
  local stand = has_unchanged_sources(task, record)
  if stand == false then return 'true' end
  local then_files, now_files = record.res_in_files, args.in_files
  if then_files and now_files and then_files ~= now_files then
    -- Evidence of different kinds, by time or by bytes, cannot be compared.
    return string.sub(then_files, 1, 5) == string.sub(now_files, 1, 5) and 'true' or 'null'
  end
  return (record.res_fp and stand and then_files and now_files) and 'false' or 'null'
end

-- Answers why a run is needed; nil for a hit and for a run in flight. The second value is the whole answer of the
-- script if the daemon has to check something first, {'verify', token, artifacts} or {'foreign', key, sha, ttl, json},
-- or if the node's policy refuses other input, {'refuse', input_changed}. For a hit `record.input_changed` says what
-- `compare_input` answered.
-- Reads: stage_key, public_json_key, older_public_json_key. Arguments: mode, fp, in_files, ignore, broken, broken_how,
-- verified.
local function decide_reuse(task, node, record) -- rare
  if record and is_in_flight(record.state) then return nil end
  local found = find_foreign_stage(task, node, record)
  if found then return nil, { 'foreign', unpack(found) } end
  if not record then return args.ignore and 'lost' or 'absent' end
  if record.state == 'FAILED' then return record.given_up == '1' and 'lost' or 'failed' end
  if record.state == 'CANCELLED' then return 'cancelled' end
  if record.res_reusable ~= '1' then return 'empty_output' end
  if args.mode == 'never' then return 'forced' end
  if args.mode == 'off' then return 'policy_off' end
  record.input_changed = compare_input(task, record)
  if args.mode == 'strict' and record.input_changed == 'true' then return 'input_changed' end
  if args.mode == 'strict' and record.input_changed == 'null' then return 'input_unknown' end
  if args.mode == 'strict' and record.res_retryable == '1' then return 'retryable_warnings' end
  if args.mode == 'refuse' and record.input_changed ~= 'false' then
    return nil, { 'refuse', record.input_changed }
  end
  local token = build_result_token(record.res_run, record.res_attempt, record.res_ended)
  if args.broken == token then return args.broken_how end
  if record.res_artifacts and record.res_artifacts ~= '[]' and args.verified ~= token then
    return nil, { 'verify', token, record.res_artifacts }
  end
  return nil
end
