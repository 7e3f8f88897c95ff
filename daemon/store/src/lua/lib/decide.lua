-- Included after foreign where reuse is decided: by submit, and by explain, which must agree with it and writes nothing.

-- Whether the stages that a result took values from still have the results they had then. Nil: unknown.
local function sources_stand(t, r)
  local known, sources = pcall(cjson.decode, r.res_in_sources or '')
  if not known or type(sources) ~= 'table' then return nil end
  for _, source in ipairs(sources) do
    local s = call('HMGET', stage_key(t, source[1]), 'res_run', 'res_attempt', 'res_ended')
    if result_token(s[1], s[2], s[3]) ~= source[2] then return false end
  end
  return true
end

-- Whether the result came from other input than the request's: its text, the files it names, the results of the stages it
-- takes values from (R8). Answers 'true', 'false', or 'null' when something of that is not known.
local function input_changed(t, r)
  if r.res_fp and A.fp ~= r.res_fp then return 'true' end
  local stand = sources_stand(t, r)
  if stand == false then return 'true' end
  local then_files, now_files = r.res_in_files, A.in_files
  if then_files and now_files and then_files ~= now_files then
    -- Of different kinds, by time or by bytes, they say nothing.
    return string.sub(then_files, 1, 5) == string.sub(now_files, 1, 5) and 'true' or 'null'
  end
  return (r.res_fp and stand and then_files and now_files) and 'false' or 'null'
end

-- Answers why a run is needed, or nil for a hit and for a run in flight; or, as the second value, the whole answer of the
-- script when the daemon has to look at something first, {'verify', token, artifacts} or {'foreign', key, sha, ttl, json},
-- and when the node's policy refuses other input, {'refuse', input_changed}.
local function decide(t, n, r)
  if r and in_flight(r.state) then return nil end
  local found = foreign_stage(t, n, r)
  if found then return nil, { 'foreign', unpack(found) } end
  if not r then return A.ignore and 'lost' or 'absent' end
  if r.state == 'FAILED' then return r.given_up == '1' and 'lost' or 'failed' end
  if r.state == 'CANCELLED' then return 'cancelled' end
  if r.res_reusable ~= '1' then return 'empty_output' end
  if A.mode == 'never' then return 'forced' end
  if A.mode == 'off' then return 'policy_off' end
  r.input_changed = input_changed(t, r)
  if A.mode == 'strict' and r.input_changed == 'true' then return 'input_changed' end
  if A.mode == 'strict' and r.input_changed == 'null' then return 'input_unknown' end
  if A.mode == 'strict' and r.res_retryable == '1' then return 'retryable_warnings' end
  if A.mode == 'refuse' and r.input_changed ~= 'false' then
    return nil, { 'refuse', r.input_changed }
  end
  local token = (r.res_run or '') .. '/' .. (r.res_attempt or '')
  if A.broken == token then return A.broken_how end
  if r.res_artifacts and r.res_artifacts ~= '[]' and A.verified ~= token then
    return nil, { 'verify', token, r.res_artifacts }
  end
  return nil
end
