-- Included after the prelude where a whole task is read (S2): its own stages, and what somebody else wrote
-- under the names of the catalog; nothing is scanned (S5).

-- {task hash, {name, record, ...}, {name, ttl, json, ...} of foreign results}
local function read_view(t)
  local stages, foreign, names, keys = {}, {}, {}, {}
  local own = {}
  for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
    local flat = call('HGETALL', stage_key(t, n))
    if #flat == 0 then
      call('ZREM', stages_key(t), n)
      call('ZREM', node_key(n), t)
    else
      local r = {}
      for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
      own[n] = r
      stages[#stages + 1] = n
      stages[#stages + 1] = flat
    end
  end
  -- Taken apart as they are read: both spellings of the key are put together from the two parts of a name.
  local today, older = t .. ':node:', t .. ':'
  for service, method in string.gmatch(A.names or '', '([^ .]+)%.([^ ]+)') do
    local n = service .. '.' .. method
    local r = own[n]
    if not r then
      local at = #names
      names[at + 1] = n
      keys[at + 1] = today .. n
      names[at + 2] = n
      keys[at + 2] = older .. service .. ':' .. method
    elseif not in_flight(r.state) then
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
  if #keys > 0 then
    for i, json in ipairs(call('MGET', unpack(keys))) do
      -- As in submit, today's spelling comes first.
      if json and foreign[#foreign - 2] ~= names[i] then
        local r = own[names[i]]
        local sha = r and redis.sha1hex(json)
        local seen = r and r.seen
        if r and keys[i] == older_key(t, names[i]) then seen = r.seen_older end
        if not r or sha ~= seen then
          foreign[#foreign + 1] = names[i]
          foreign[#foreign + 1] = call('TTL', keys[i])
          foreign[#foreign + 1] = json
        end
      end
    end
  end
  local task = call('HGETALL', task_key(t))
  task[#task + 1] = 'disk_bytes'
  task[#task + 1] = call('HGET', DISK, t) or '0'
  return { task, stages, foreign }
end
