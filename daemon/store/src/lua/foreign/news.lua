-- Compares stages with what lies under their keys now, and forgets what other workers have removed. Arguments: stages
-- (task|name), most_bytes, lost_after_ms, ignore? (shas of JSONs that count for nothing). Answers
-- {number of stages looked at, {position, key, sha, ttl, json, overdue, ...}}: what is neither ours nor known, or known and
-- not written again for too long (`overdue`). Stops early when that gets large.
--
-- Most stages asked about are our own, whose public JSON we wrote ourselves: for one of those this is two short reads.

-- What is shown of the stage was written by another worker and is there no more.
local function forget_stage(t, n, r)
  local entry = noted(t, n)
  begin()
  forget_noted(t, n)
  if r and r.runner == 'foreign' and call('EXISTS', projection_key(t, n), older_key(t, n)) == 0 then
    keep_ends(t, n, load(t, n))
    call('DEL', stage_key(t, n))
    r = nil
  elseif r and entry then
    follow_noted(r, entry)
    change(t, n, r, {})
  end
  settle(t)
  if r then
    emit(t, n, r, 'progress')
  elseif call('EXISTS', task_key(t)) == 1 then
    emit(t, n, nil, 'removed')
  else
    emit(t, nil, nil, 'deleted')
  end
end

-- Whether it was taken over from a key, and nobody waits to be told of it.
local function is_taken_over(r)
  return r.runner == 'foreign' and (r.seen or r.seen_older) and r.callback_status ~= 'pending'
end

local FIELDS = { 'state', 'rev', 'run', 'runner', 'projected', 'seen', 'seen_older', 'callback_status' }

local function short_record(t, n)
  local values = redis.pcall('HMGET', stage_key(t, n), unpack(FIELDS))
  if values.err then return { damage = true } end
  if not values[1] then return nil end
  local r = {}
  for i, field in ipairs(FIELDS) do r[field] = values[i] or nil end
  r.damage = not TASK_STATUS[r.state]
  return r
end

-- Whether a value may be a stage's JSON, so that what others keep under names of three parts is not read whole.
local function is_plausible(key)
  local first = redis.pcall('GETRANGE', key, 0, 0)
  return type(first) == 'string' and string.find(first, '^[%s{]') ~= nil
end

-- Whether what lies there is what was noted, and whether it was not written again for too long: one with an expiry tells
-- by that, one without by when it was noted.
local function judge_noted(t, n, entry, one)
  if not one or not entry or entry.sha ~= one[2] then return false, false end
  local member, ttl = queue_member(t, n), one[3]
  if ttl >= 0 then
    local written = NOW - math.max(0, tonumber(A.ttl) * 1000 - ttl)
    call('ZADD', FOREIGN, int(written + tonumber(A.lost_after_ms)), member)
  end
  -- Not later than a whole silence from now, also where the clock was set back.
  local latest = NOW + tonumber(A.lost_after_ms)
  if tonumber(call('ZSCORE', FOREIGN, member) or 0) > latest then call('ZADD', FOREIGN, int(latest), member) end
  local is_overdue = tonumber(call('ZSCORE', FOREIGN, member) or NOW) <= NOW
  return not is_overdue, is_overdue
end

local count, bytes, found = 0, 0, {}
for _, member in each(A.stages) do
  if bytes > tonumber(A.most_bytes) then break end
  count = count + 1
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  local r = short_record(t, n)
  -- One that is damaged stays as it is until it is mended.
  if not (r and (r.damage or in_flight(r.state))) then
    local entry = noted(t, n)
    local today, older = projection_key(t, n), older_key(t, n)
    local one
    if r or is_plausible(today) or is_plausible(older) then one = foreign_stage(t, n, r) end
    local is_known, is_overdue = judge_noted(t, n, entry, one)
    if one and not is_known then
      bytes = bytes + #one[4]
      found[#found + 1] = count - 1
      for _, part in ipairs(one) do found[#found + 1] = part end
      found[#found + 1] = is_overdue and 1 or 0
    elseif not one then
      local left = call('EXISTS', today, older) > 0
      if entry then
        -- Waiting callbacks are sent first.
        if left or call('EXISTS', watch_key(t, n)) == 0 then forget_stage(t, n, r) end
      elseif not left and (r and is_taken_over(r) or not r and call('ZSCORE', stages_key(t), n)) then
        forget_stage(t, n, r)
      end
    end
  end
end
return { count, found }
