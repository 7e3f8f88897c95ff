-- Included after the prelude where a whole task is read (S2): its own stages, and what somebody else wrote
-- under the names of the catalog; nothing is scanned (S5).

-- {task hash, {name, record, ...}, {name, ttl, json, revision, start, ...} of foreign results, both spellings where both
-- are news, with the last two where the very same was noted, {name, ...} of all stages in their order where something was
-- noted, {name, ...} of what was noted and is not there any more}
local function read_view(t)
  local stages, foreign, names, keys = {}, {}, {}, {}
  local own, order = {}, {}
  local noted_stages, has_noted = all_noted(t)
  local list = redis.pcall('ZRANGE', stages_key(t), 0, -1)
  for _, n in ipairs(list.err and {} or list) do
    local flat = redis.pcall('HGETALL', stage_key(t, n))
    if flat.err then flat = { 'damage', 'it is no hash' } end
    if has_noted then order[#order + 1] = n end
    if #flat == 0 then
      if not noted_stages[n] then
        call('ZREM', stages_key(t), n)
        call('ZREM', node_key(n), t)
      end
    else
      local r = {}
      for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
      own[n] = r
      stages[#stages + 1] = n
      stages[#stages + 1] = flat
    end
  end
  -- Both spellings of the key are put together from the two parts of a name.
  local today, older = t .. ':node:', t .. ':'
  local function look_for(n, service, method)
    local r = own[n]
    if not r then
      local at = #names
      names[at + 1] = n
      keys[at + 1] = today .. n
      names[at + 2] = n
      keys[at + 2] = older .. service .. ':' .. method
    elseif TASK_STATUS[r.state or ''] and not in_flight(r.state) then
      local head = projection_head(t, n, r)
      local start = redis.pcall('GETRANGE', today .. n, 0, #head - 1)
      if type(start) == 'string' and start ~= '' and start ~= head then
        names[#names + 1] = n
        keys[#keys + 1] = today .. n
      end
      names[#names + 1] = n
      keys[#keys + 1] = older .. service .. ':' .. method
    end
  end
  local catalog = A.names or ''
  for service, method in string.gmatch(catalog, '([^ .]+)%.([^ ]+)') do
    look_for(service .. '.' .. method, service, method)
  end
  -- Of nodes outside the catalog only those are looked for that are known.
  local function look_beyond(n)
    if string.find(' ' .. catalog .. ' ', ' ' .. n .. ' ', 1, true) then return end
    local service, method = string.match(n, '^([^.]+)%.(.+)$')
    look_for(n, service, method)
  end
  for n, r in pairs(own) do
    if r.runner == 'foreign' then look_beyond(n) end
  end
  for n in pairs(noted_stages) do
    if not own[n] or own[n].runner ~= 'foreign' then look_beyond(n) end
  end
  local found = {}
  for from = 1, #keys, CHUNK do
    local jsons = call('MGET', unpack(keys, from, math.min(from + CHUNK - 1, #keys)))
    for position, json in ipairs(jsons) do
      local i = from + position - 1
      if json then
        local n = names[i]
        local r, entry = own[n], noted_stages[n]
        local sha = (r or entry) and redis.sha1hex(json) or ''
        local seen = r and r.seen
        if r and keys[i] == older_key(t, n) then seen = r.seen_older end
        if not r or sha ~= seen then
          local known = entry and entry.sha == sha
          if known then found[n] = true end
          local at = #foreign
          foreign[at + 1] = n
          foreign[at + 2] = call('PTTL', keys[i])
          foreign[at + 3] = json
          foreign[at + 4] = known and entry.rev or ''
          foreign[at + 5] = known and entry.started or ''
        end
      end
    end
  end
  local stale = {}
  for n in pairs(noted_stages) do
    if not found[n] then stale[#stale + 1] = n end
  end
  local task = redis.pcall('HGETALL', task_key(t))
  if task.err then task = { 'damage', 'it is no hash' } end
  if list.err then task[#task + 1], task[#task + 2] = 'damage', 'its list of stages is none' end
  task[#task + 1] = 'disk_bytes'
  task[#task + 1] = call('HGET', DISK, t) or '0'
  return { task, stages, foreign, order, stale }
end
