-- One page of deliveries, newest first. Arguments: limit, scan (how many may be looked at), state?, task?, before_score?,
-- before_id?. Answers {next cursor or '', {id, delivery fields ...}, ...}. What has expired is dropped on the way.

local FIELDS = { 'url', 'task', 'name', 'run', 'status', 'state', 'attempts', 'created', 'next', 'tried', 'detail',
  'http_status', 'host' }
local index = A.task and task_deliveries_key(A.task) or A.state and deliveries_key(A.state) or DELIVERIES
local limit, budget = tonumber(A.limit), tonumber(A.scan)
local out, gone = { '' }, {}
local max = A.before_score or '+inf'
local offset, looked, last_score, last_id = 0, 0, nil, nil
local skipping = A.before_id
while looked < budget and #out - 1 < limit do
  local page = call('ZREVRANGEBYSCORE', index, max, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  if #page == 0 then
    last_id = nil
    break
  end
  offset = offset + #page / 2
  for i = 1, #page, 2 do
    local id, score = page[i], page[i + 1]
    -- Members of equal score come in descending order of their names.
    if not (skipping and score == A.before_score and id >= A.before_id) then
      skipping = nil
      looked = looked + 1
      local values = call('HMGET', delivery_key(id), unpack(FIELDS))
      if not values[2] then
        gone[#gone + 1] = id
      elseif not A.state or values[6] == A.state then
        local fields = {}
        for f, field in ipairs(FIELDS) do
          if values[f] then
            fields[#fields + 1] = field
            fields[#fields + 1] = values[f]
          end
        end
        add_breaker(fields, values[6], values[13])
        out[#out + 1] = { id, fields }
      end
      last_score, last_id = score, id
      if looked >= budget or #out - 1 >= limit then break end
    end
  end
end
if last_id then out[1] = last_score .. ':' .. last_id end
for _, id in ipairs(gone) do
  call('ZREM', index, id)
  call('ZREM', DELIVERIES, id)
  for _, state in ipairs({ 'pending', 'sent', 'failed' }) do call('ZREM', deliveries_key(state), id) end
end
return out
