-- Lists one page of tasks, newest first.
-- Arguments: limit, scan (how many tasks may be read), status?, node?, search? (lower case), before_score?, before_id?.
-- Answers {next cursor or '', seq, item JSON, ...}.

local index = args.status and status_index_key(args.status) or args.node and node_index_key(args.node) or TASKS
if args.status and args.node and call('ZCARD', node_index_key(args.node)) < call('ZCARD', index) then
  index = node_index_key(args.node)
end
local limit, budget = tonumber(args.limit), tonumber(args.scan)

-- Whether a task passes the filters.
local function matches(task, status, names, records)
  if args.status and status ~= args.status then return false end
  if args.node then
    local has = false
    for _, node in ipairs(names) do has = has or node == args.node end
    if not has then return false end
  end
  if not args.search then return true end
  local function found(text) return text and string.find(string.lower(text), args.search, 1, true) end
  if found(task) then return true end
  for position, node in ipairs(names) do
    if found(node) or found(records[position].error_short) then return true end
  end
  return false
end

-- Builds what an item says of the pipeline of a video, for the task that it is processed under; empty for others.
local function build_pipeline_json(task)
  local video = string.match(task, '^video%-(.+)$')
  local processing = video and call('HGET', video_key(video), 'processing')
  local is_whole = processing and pcall(cjson.decode, processing)
  return is_whole and (',"pipeline":' .. processing) or ''
end

-- Answers the fields of a stage that its summary needs; nil where there is no record.
local function read_summary(task, node)
  local values = redis.pcall('HMGET', stage_key(task, node), unpack(SUMMARY_FIELDS))
  if values.err then return { damage = 'it is no hash' } end
  local record = {}
  for position, field in ipairs(SUMMARY_FIELDS) do record[field] = values[position] or nil end
  if not next(record) then return nil end
  record.damage = drop_damaged_fields(record)
  return record
end

local CALLBACK_STATES = { pending = true, sent = true, failed = true }
local STATUSES = {}
for _, status in pairs(TASK_STATUS) do STATUSES[status] = true end

-- Answers created, updated, status, newest and callback_status of a task, and the name of one that cannot be right.
local function read_task_item(task)
  local item = redis.pcall('HMGET', task_key(task), 'created', 'updated', 'status', 'newest', 'callback_status')
  if item.err then return { '0', '0', 'failed' }, 'it is no hash' end
  if not (item[1] or item[3]) then return item end
  local damage
  if not STATUSES[item[3]] then item[3], damage = 'failed', 'status' end
  if not tonumber(item[1]) then item[1], damage = '0', 'created' end
  if not tonumber(item[2]) then item[2], damage = item[1], damage or 'updated' end
  if item[4] and not string.find(item[4], '^[%w_-]+%.[%w_.-]+$') then item[4], damage = nil, damage or 'newest' end
  if item[5] and not CALLBACK_STATES[item[5]] then item[5], damage = nil, damage or 'callback_status' end
  return item, damage
end

-- Answers the names of the stages that a task shows, their records, and the name of the one that ended last.
local function read_stages(task)
  local names, records = {}, {}
  local notes = read_notes(task)
  local newest, newest_ended = nil, -1
  for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
    local record = choose_shown_record(read_summary(task, node), notes[node])
    if record then
      names[#names + 1] = node
      records[#records + 1] = record
      local ended = tonumber(record.ended) or 0
      if ended >= newest_ended then newest, newest_ended = node, ended end
    end
  end
  return names, records, newest
end

-- Builds the item of a task as JSON; nil where it does not exist any more, has no stages or does not pass the filters.
local function build_item_json(task)
  local item, damage = read_task_item(task)
  if not item[1] then return nil end
  local names, records, newest = read_stages(task)
  if #names == 0 or not matches(task, item[3], names, records) then return nil end
  local stages = {}
  for position, node in ipairs(names) do
    stages[position] = '"' .. node .. '":' .. build_summary_json(records[position])
  end
  return '{"task_id":"' .. task .. '","status":' .. quote_text(item[3]) .. ',"created_at":' .. format_time(item[1])
    .. ',"updated_at":' .. format_time(item[2]) .. ',"task_name":' .. quote_text(item[4] or newest)
    .. ',"callback_status":' .. quote_text(item[5] or nil) .. ',"disk_bytes":'
    .. format_integer(tonumber(call('HGET', DISK, task)) or 0) .. ',"stages":{' .. table.concat(stages, ',') .. '}'
    .. build_pipeline_json(task) .. (damage and (',"damaged":"' .. damage .. '"') or '') .. '}'
end

local reply = { '', tonumber(call('GET', EVENT_SEQUENCE) or 0) }
local highest = args.before_score or '+inf'
local offset, count, last_score, last_id = 0, 0, nil, nil
local skipping = args.before_id
while count < budget and #reply - 2 < limit do
  local page = call('ZREVRANGEBYSCORE', index, highest, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  if #page == 0 then return reply end
  offset = offset + #page / 2
  for position = 1, #page, 2 do
    local task, score = page[position], page[position + 1]
    -- Members of equal score come in descending order of their names.
    if not (skipping and score == args.before_score and task >= args.before_id) then
      skipping = nil
      count = count + 1
      reply[#reply + 1] = build_item_json(task)
      last_score, last_id = score, task
      if count >= budget or #reply - 2 >= limit then break end
    end
  end
end
if last_id then reply[1] = last_score .. ':' .. last_id end
return reply
