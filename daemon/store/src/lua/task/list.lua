-- One page of tasks, newest first. Arguments: limit, scan (how many tasks may be looked at), status?, node?, search?
-- (lower case), before_score?, before_id?. Answers {next cursor or '', seq, item JSON, ...}.

local index = A.status and status_key(A.status) or A.node and node_key(A.node) or TASKS
if A.status and A.node and call('ZCARD', node_key(A.node)) < call('ZCARD', index) then index = node_key(A.node) end
local limit, budget = tonumber(A.limit), tonumber(A.scan)

local function matches(t, status, names, records)
  if A.status and status ~= A.status then return false end
  if A.node then
    local has = false
    for _, n in ipairs(names) do has = has or n == A.node end
    if not has then return false end
  end
  if not A.search then return true end
  local function found(text) return text and string.find(string.lower(text), A.search, 1, true) end
  if found(t) then return true end
  for i, n in ipairs(names) do
    if found(n) or found(records[i].error_short) then return true end
  end
  return false
end

-- The pipeline of a video, for the task it is processed under.
local function pipeline_of(t)
  local video = string.match(t, '^video%-(.+)$')
  local processing = video and call('HGET', video_key(video), 'processing')
  local is_whole = processing and pcall(cjson.decode, processing)
  return is_whole and (',"pipeline":' .. processing) or ''
end

local function read_summary(t, n)
  local values = redis.pcall('HMGET', stage_key(t, n), unpack(SUMMARY_FIELDS))
  if values.err then return { damage = 'it is no hash' } end
  local r = {}
  for f, field in ipairs(SUMMARY_FIELDS) do r[field] = values[f] or nil end
  if not next(r) then return nil end
  r.damage = damage_of(r)
  return r
end

local CALLBACK_STATES = { pending = true, sent = true, failed = true }
local STATUSES = {}
for _, status in pairs(TASK_STATUS) do STATUSES[status] = true end

-- What is kept of a task itself, and what of that cannot be right.
local function read_item(t)
  local task = redis.pcall('HMGET', task_key(t), 'created', 'updated', 'status', 'newest', 'callback_status')
  if task.err then return { '0', '0', 'failed' }, 'it is no hash' end
  if not (task[1] or task[3]) then return task end
  local damage
  if not STATUSES[task[3]] then task[3], damage = 'failed', 'status' end
  if not tonumber(task[1]) then task[1], damage = '0', 'created' end
  if not tonumber(task[2]) then task[2], damage = task[1], damage or 'updated' end
  if task[4] and not string.find(task[4], '^[%w_-]+%.[%w_.-]+$') then task[4], damage = nil, damage or 'newest' end
  if task[5] and not CALLBACK_STATES[task[5]] then task[5], damage = nil, damage or 'callback_status' end
  return task, damage
end

local out = { '', tonumber(call('GET', SEQ) or 0) }
local max = A.before_score or '+inf'
local offset, looked, last_score, last_id = 0, 0, nil, nil
local skipping = A.before_id
while looked < budget and #out - 2 < limit do
  local page = call('ZREVRANGEBYSCORE', index, max, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  if #page == 0 then return out end
  offset = offset + #page / 2
  for i = 1, #page, 2 do
    local t, score = page[i], page[i + 1]
    -- Members of equal score come in descending order of their names.
    if not (skipping and score == A.before_score and t >= A.before_id) then
      skipping = nil
      looked = looked + 1
      local task, damage = read_item(t)
      if task[1] then
        local names, records = {}, {}
        local foreign = all_noted(t)
        local newest, newest_ended = nil, -1
        for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
          local r = shown(read_summary(t, n), foreign[n])
          if r then
            names[#names + 1] = n
            records[#records + 1] = r
            local ended = tonumber(r.ended) or 0
            if ended >= newest_ended then newest, newest_ended = n, ended end
          end
        end
        if #names > 0 and matches(t, task[3], names, records) then
          local stages = {}
          for s, n in ipairs(names) do stages[s] = '"' .. n .. '":' .. summary(records[s]) end
          out[#out + 1] = '{"task_id":"' .. t .. '","status":' .. quoted(task[3]) .. ',"created_at":' .. iso(task[1])
            .. ',"updated_at":' .. iso(task[2]) .. ',"task_name":' .. quoted(task[4] or newest) .. ',"callback_status":'
            .. quoted(task[5] or nil) .. ',"disk_bytes":' .. int(tonumber(call('HGET', DISK, t)) or 0) .. ',"stages":{'
            .. table.concat(stages, ',') .. '}' .. pipeline_of(t) .. (damage and (',"damaged":"' .. damage .. '"') or '') .. '}'
        end
      end
      last_score, last_id = score, t
      if looked >= budget or #out - 2 >= limit then break end
    end
  end
end
if last_id then out[1] = last_score .. ':' .. last_id end
return out
