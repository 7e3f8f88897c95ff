-- Repairs what is damaged of a task and its stages, or sets it aside.
-- Arguments: task, keep_seconds (how long a key that was set aside is kept), aside_prefix (what its new name begins
-- with).
-- Answers what was done, in words.

local task = args.task
local done = {}
local function note(text) done[#done + 1] = text end

-- Sets a key aside under a new name.
local function set_aside(key, why)
  require_writable()
  local aside = args.aside_prefix .. key
  call('RENAME', key, aside)
  call('EXPIRE', aside, args.keep_seconds)
  note(key .. ' (' .. why .. ') is set aside as ' .. aside)
end

-- Fields of a record that hold JSON.
local JSON_FIELDS = { 'input', 'input_pub', 'res_input', 'res_input_pub', 'res_output', 'res_artifacts', 'error',
  'callback', 'path', 'last_attempt', 'attempts', 'needs', 'took', 'res_needs' }
-- Fields without which a record is of no use.
local NEEDED = { state = true, run = true, queue = true, input = true, res_output = true, res_run = true, it = true }

-- Answers the first field of a record that cannot be right, and whether the record can do without it.
local function find_damage(record)
  local damage = drop_damaged_fields(record)
  if damage then return damage, not NEEDED[damage] end
  for _, field in ipairs(JSON_FIELDS) do
    if record[field] and not pcall(cjson.decode, '[' .. record[field] .. ']') then return field, not NEEDED[field] end
  end
end

-- Sets the record of a stage aside. What is kept of its earlier runs goes as soon as that does.
local function set_aside_stage(node, why)
  set_aside(stage_key(task, node), why)
  call('EXPIRE', history_key(task, node), args.keep_seconds)
end

-- Repairs the record of a stage, field by field.
local function mend_stage(node)
  local key = stage_key(task, node)
  local record, wrong = read_hash(key)
  if wrong then return set_aside_stage(node, wrong) end
  while record do
    local damage, can_do_without = find_damage(record)
    if not damage then return end
    if not can_do_without then return set_aside_stage(node, damage) end
    require_writable()
    call('HDEL', key, damage)
    note(key .. ': ' .. damage .. ' is removed')
    record = read_hash(key)
  end
end

local list = redis.pcall('ZRANGE', stages_key(task), 0, -1)
if list.err then
  set_aside(stages_key(task), 'it is no list of stages')
  list = {}
end
for _, node in ipairs(list) do
  if string.find(node, '^[%w_-]+%.[%w_.-]+$') then
    mend_stage(node)
  else
    require_writable()
    call('ZREM', stages_key(task), node)
    note(stages_key(task) .. ': a name that is none is removed')
  end
end
local task_hash, wrong = read_hash(task_key(task))
if wrong then set_aside(task_key(task), wrong) end
for _, field in ipairs({ 'created', 'updated', 'status', 'newest', 'callback_status' }) do
  local value = task_hash and task_hash[field]
  local is_time = field == 'created' or field == 'updated'
  if value and (is_time and not tonumber(value) or not is_time and not string.find(value, '^[%w_.-]+$')) then
    require_writable()
    call('HDEL', task_key(task), field)
    note(task_key(task) .. ': ' .. field .. ' is set again')
    task_hash[field] = nil
  end
end
if #done > 0 then
  local since = task_hash and task_hash.created or call('ZSCORE', TASKS, task) or NOW_DIGITS
  call('HSET', task_key(task), 'created', since)
  call('ZADD', TASKS, 'NX', since, task)
  for _, status in pairs(TASK_STATUS) do call('ZREM', status_index_key(status), task) end
  call('HDEL', task_key(task), 'status')
  update_task_status(task)
  publish_event(task, nil, nil, call('EXISTS', task_key(task)) == 1 and 'mended' or 'deleted')
end
return done
