-- A task as a whole (S2): its own stages, and what other workers wrote under the names of the catalog; nothing is
-- scanned (S5). `task_read` of the store reads the same with plain commands; this is for scripts.

-- Answers the records of a task's own stages: by node; as {name, hash, ...}; all names in their order where the task
-- has notes; and whether the list of stages is damaged. A stage that has expired is left out.
-- Reads: stage_key, stages_key.
local function read_own_stages(task, has_notes)
  local own, stages, order = {}, {}, {}
  local list = redis.pcall('ZRANGE', stages_key(task), 0, -1)
  for _, node in ipairs(list.err and {} or list) do
    local flat = redis.pcall('HGETALL', stage_key(task, node))
    if flat.err then flat = { 'damage', 'it is no hash' } end
    if has_notes then order[#order + 1] = node end
    if #flat > 0 then
      local record = {}
      for position = 1, #flat, 2 do record[flat[position]] = flat[position + 1] end
      own[node] = record
      stages[#stages + 1] = node
      stages[#stages + 1] = flat
    end
  end
  return own, stages, order, list.err
end

-- Answers where JSONs of other workers may be: nodes, and the key of each; a node can be there with both spellings.
-- `own` are the records of the task by node.
-- Reads: public_json_key. Arguments: names.
local function list_foreign_keys(task, own, notes)
  local nodes, keys = {}, {}
  -- Both spellings of the key are put together from the two parts of a name.
  local today, older = task .. ':node:', task .. ':'
  local function add(node, service, method)
    local record = own[node]
    if not record then
      local count = #nodes
      nodes[count + 1] = node
      keys[count + 1] = today .. node
      nodes[count + 2] = node
      keys[count + 2] = older .. service .. ':' .. method
    elseif TASK_STATUS[record.state or ''] and not is_in_flight(record.state) then
      local head = build_public_json_head(task, node, record)
      local start = redis.pcall('GETRANGE', today .. node, 0, #head - 1)
      if type(start) == 'string' and start ~= '' and start ~= head then
        nodes[#nodes + 1] = node
        keys[#keys + 1] = today .. node
      end
      nodes[#nodes + 1] = node
      keys[#keys + 1] = older .. service .. ':' .. method
    end
  end
  local catalog = args.names or ''
  for service, method in string.gmatch(catalog, '([^ .]+)%.([^ ]+)') do
    add(service .. '.' .. method, service, method)
  end
  -- Nodes outside the catalog are added only where they are known.
  local function add_known(node)
    if string.find(' ' .. catalog .. ' ', ' ' .. node .. ' ', 1, true) then return end
    local service, method = string.match(node, '^([^.]+)%.(.+)$')
    add(node, service, method)
  end
  for node, record in pairs(own) do
    if record.runner == 'foreign' then add_known(node) end
  end
  for node in pairs(notes) do
    if not own[node] or own[node].runner ~= 'foreign' then add_known(node) end
  end
  return nodes, keys
end

-- Answers the JSONs at these keys that are news, as {name, ttl, json, revision, started, ...}, the last two of the note
-- where that is of the very same JSON; and by node, which notes are still right.
-- Reads: `keys`.
local function read_foreign_jsons(task, nodes, keys, own, notes)
  local foreign, found = {}, {}
  for from = 1, #keys, VALUES_PER_CALL do
    local jsons = call('MGET', unpack(keys, from, math.min(from + VALUES_PER_CALL - 1, #keys)))
    for offset, json in ipairs(jsons) do
      local position = from + offset - 1
      if json then
        local node = nodes[position]
        local record, note = own[node], notes[node]
        local sha = (record or note) and redis.sha1hex(json) or ''
        local seen = record and record.seen
        if record and keys[position] == older_public_json_key(task, node) then seen = record.seen_older end
        if (not record or sha ~= seen) and not is_of_sent_run(task, json) then
          local known = note and note.sha == sha
          if known then found[node] = true end
          local count = #foreign
          foreign[count + 1] = node
          foreign[count + 2] = call('PTTL', keys[position])
          foreign[count + 3] = json
          foreign[count + 4] = known and note.rev or ''
          foreign[count + 5] = known and note.started or ''
        end
      end
    end
  end
  return foreign, found
end

-- Answers {task hash, {name, record, ...}, {name, ttl, json, revision, started, ...} of results of other workers (both
-- spellings where both are news, the last two where the very same JSON was noted), {name, ...} of all stages in their
-- order where the task has notes, {name, ...} of stages whose note is not right any more}.
-- Reads: task_key, stages_key, stage_key, foreign_key, DISK, public_json_key, older_public_json_key. Arguments: names.
local function read_task_view(task)
  local notes, has_notes = read_notes(task)
  local own, stages, order, is_list_damaged = read_own_stages(task, has_notes)
  local nodes, keys = list_foreign_keys(task, own, notes)
  local foreign, found = read_foreign_jsons(task, nodes, keys, own, notes)
  local stale = {}
  for node in pairs(notes) do
    if not found[node] then stale[#stale + 1] = node end
  end
  local task_hash = redis.pcall('HGETALL', task_key(task))
  if task_hash.err then task_hash = { 'damage', 'it is no hash' } end
  if is_list_damaged then
    task_hash[#task_hash + 1], task_hash[#task_hash + 2] = 'damage', 'its list of stages is none'
  end
  task_hash[#task_hash + 1] = 'disk_bytes'
  task_hash[#task_hash + 1] = call('HGET', DISK, task) or '0'
  return { task_hash, stages, foreign, order, stale }
end
