-- Included after foreign where reuse is decided: by submit, and by explain, which must agree with it and writes nothing.

-- Answers why a run is needed, or nil for a hit and for a run in flight; or, as the second value, the whole answer of the
-- script when the daemon has to look at something first, {'verify', token, artifacts} or {'foreign', key, sha, ttl, json},
-- and when the node's policy refuses other input, {'refuse'}.
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
  if A.mode == 'strict' and r.res_fp ~= A.fp then return 'input_changed' end
  if A.mode == 'refuse' and r.res_fp ~= A.fp then return nil, { 'refuse' } end
  local token = (r.res_run or '') .. '/' .. (r.res_attempt or '')
  if A.broken == token then return A.broken_how end
  if r.res_artifacts and r.res_artifacts ~= '[]' and A.verified ~= token then
    return nil, { 'verify', token, r.res_artifacts }
  end
  return nil
end

local function input_changed(r)
  return (r.res_fp and A.fp and r.res_fp ~= A.fp) and 'true' or 'false'
end
