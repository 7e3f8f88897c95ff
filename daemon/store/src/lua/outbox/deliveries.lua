-- Lists one page of deliveries, newest first, and removes those that have expired from the lists on the way.
-- Arguments: limit, scan (how many may be read), state?, task?, before_score?, before_id?.
-- Answers {next cursor or '', {id, {field, value, ...}}, ...}.

local FIELDS = { 'url', 'task', 'name', 'run', 'status', 'state', 'attempts', 'created', 'next', 'tried', 'detail',
  'http_status', 'host' }

-- Answers the fields of a delivery as a flat list; nil for one in another state than is listed. The second value says
-- whether the delivery has expired.
local function read_fields(id)
  local values = call('HMGET', delivery_key(id), unpack(FIELDS))
  local state, host = values[6], values[13]
  if not values[2] then return nil, true end
  if args.state and state ~= args.state then return nil, false end
  local fields = {}
  for column, field in ipairs(FIELDS) do
    if values[column] then
      fields[#fields + 1] = field
      fields[#fields + 1] = values[column]
    end
  end
  append_breaker_end(fields, state, host)
  return fields, false
end

local index = args.task and task_deliveries_key(args.task) or args.state and deliveries_key(args.state) or DELIVERIES
local limit, budget = tonumber(args.limit), tonumber(args.scan)
local reply, expired = { '' }, {}
local highest = args.before_score or '+inf'
local offset, count, last_score, last_id = 0, 0, nil, nil
local skipping = args.before_id
while count < budget and #reply - 1 < limit do
  local page = call('ZREVRANGEBYSCORE', index, highest, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  if #page == 0 then
    last_id = nil
    break
  end
  offset = offset + #page / 2
  for position = 1, #page, 2 do
    local id, score = page[position], page[position + 1]
    -- Members of equal score come in descending order of their names.
    if not (skipping and score == args.before_score and id >= args.before_id) then
      skipping = nil
      count = count + 1
      local fields, has_expired = read_fields(id)
      if fields then
        reply[#reply + 1] = { id, fields }
      elseif has_expired then
        expired[#expired + 1] = id
      end
      last_score, last_id = score, id
      if count >= budget or #reply - 1 >= limit then break end
    end
  end
end
if last_id then reply[1] = last_score .. ':' .. last_id end
for _, id in ipairs(expired) do
  call('ZREM', index, id)
  call('ZREM', DELIVERIES, id)
  for _, state in ipairs({ 'pending', 'sent', 'failed' }) do call('ZREM', deliveries_key(state), id) end
end
return reply
