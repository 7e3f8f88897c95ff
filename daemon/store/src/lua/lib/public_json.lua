-- The public JSON of a stage (S1), which is put together from fragments and never re-encoded.

-- The start of a projection. A JSON that starts otherwise was written by somebody else.
local function projection_head(t, n, r)
  return '{"workflow_id":"' .. t .. '","stages":{"' .. n .. '":{"revision":' .. (r.projected or '0') .. ',"run_id":'
    .. quoted(r.run) .. ','
end

-- The JSON somebody left at a key, by its hash. A record keeps, as `seen` and `seen_older`, the hashes of what lay
-- under both spellings when it was last taken over or run: only other ones are news.
local function sha_at(key)
  local json = redis.pcall('GET', key)
  if not json or type(json) == 'table' then return nil end
  return redis.sha1hex(json), json
end

local function stage_body(r, state, output, error, duration_ms)
  return '"status":"' .. state .. '","input_params":' .. public_input(r) .. ',"output":' .. output
    .. ',"error":' .. (error or 'null') .. ',"duration":' .. seconds(duration_ms) .. ',"attempt":'
    .. (r.attempt or '1') .. ',"runner":' .. quoted(r.runner) .. ',"progress":' .. (r.progress or 'null')
    .. ',"started_at":' .. iso(r.started) .. ',"ended_at":' .. iso(r.ended)
end

-- The output a reader may use: of the success that stands, also while a forced rerun is under way (R8).
local function standing_output(r)
  if r.state == 'SUCCESS' or r.restore == '1' then return r.res_output or '{}' end
  return '{}'
end

-- Whether the result of this attempt is the one that stands (R7).
local function result_stands(r, run, attempt)
  return r and r.res_run == run and r.res_attempt == attempt and (r.state == 'SUCCESS' or r.restore == '1')
end

-- Names the result that stands, so that it can be told from the next; empty where there is none.
local function result_token(run, attempt, ended)
  if not ended then return '' end
  return (run or '') .. '/' .. (attempt or '') .. '/' .. ended
end

-- What of it is at the object store, as a JSON array.
local function standing_files(r)
  if r.res_files and (r.state == 'SUCCESS' or r.restore == '1') then return '[' .. r.res_files .. ']' end
  return 'null'
end

-- An input of more bytes is in the public JSON once, under the stage.
local INPUT_SHOWN_TWICE = 65536

-- Writes the public JSON of the stage (S1), with its own expiry.
local function project(t, n, r)
  local input = public_input(r)
  if #input > INPUT_SHOWN_TWICE then input = '{}' end
  local rev = r.rev
  call('HSET', stage_key(t, n), 'projected', rev)
  r.projected = rev
  local json = projection_head(t, n, r) .. stage_body(r, r.state, standing_output(r), r.error, r.duration_ms)
    .. '}},"task_id":"' .. t .. '","status":"' .. TASK_STATUS[r.state] .. '","create_at":' .. iso(r.created)
    .. ',"created_at":' .. iso(r.created) .. ',"updated_at":' .. iso(NOW) .. ',"input_params":{"task_name":"' .. n
    .. '","input_data":' .. input .. ',"callback_url":' .. (r.callback or 'null')
    .. '},"shared_storage_path":' .. (r.path or 'null') .. ',"error":' .. (r.error or 'null')
    .. ',"minio_files":' .. standing_files(r) .. ',"callback_status":' .. quoted(r.run_callback_status) .. '}'
  call('SET', projection_key(t, n), json, 'EX', A.ttl)
end
