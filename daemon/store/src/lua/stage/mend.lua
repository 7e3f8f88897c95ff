-- Mends what of a task's records is damaged, or sets it aside. Arguments: task, keep_seconds (how long what was set aside is
-- kept), aside_prefix. Answers what was done, in words.

local t = A.task
local done = {}
local function note(text) done[#done + 1] = text end

local function set_aside(key, why)
  begin()
  local aside = A.aside_prefix .. key
  call('RENAME', key, aside)
  call('EXPIRE', aside, A.keep_seconds)
  note(key .. ' (' .. why .. ') is set aside as ' .. aside)
end

local TEXTS = { 'input', 'input_pub', 'res_input', 'res_input_pub', 'res_output', 'res_artifacts', 'error', 'callback', 'path',
  'last_attempt' }
-- Without these a stage is none.
local NEEDED = { state = true, run = true, queue = true, input = true, res_output = true, res_run = true, it = true }

-- The first field of a record that cannot be right, and whether the record can do without it.
local function find_damage(r)
  local damage = damage_of(r)
  if damage then return damage, not NEEDED[damage] end
  for _, field in ipairs(TEXTS) do
    if r[field] and not pcall(cjson.decode, '[' .. r[field] .. ']') then return field, not NEEDED[field] end
  end
end

local function mend_stage(n)
  local key = stage_key(t, n)
  local r, wrong = read_hash(key)
  if wrong then return set_aside(key, wrong) end
  while r do
    local damage, can_do_without = find_damage(r)
    if not damage then return end
    if not can_do_without then return set_aside(key, damage) end
    begin()
    call('HDEL', key, damage)
    note(key .. ': ' .. damage .. ' is removed')
    r = read_hash(key)
  end
end

local list = redis.pcall('ZRANGE', stages_key(t), 0, -1)
if list.err then
  set_aside(stages_key(t), 'it is no list of stages')
  list = {}
end
for _, n in ipairs(list) do
  if string.find(n, '^[%w_-]+%.[%w_.-]+$') then
    mend_stage(n)
  else
    begin()
    call('ZREM', stages_key(t), n)
    note(stages_key(t) .. ': a name that is none is removed')
  end
end
local task, wrong = read_hash(task_key(t))
if wrong then set_aside(task_key(t), wrong) end
for _, field in ipairs({ 'created', 'updated', 'status', 'newest', 'callback_status' }) do
  local value = task and task[field]
  local is_time = field == 'created' or field == 'updated'
  if value and (is_time and not tonumber(value) or not is_time and not string.find(value, '^[%w_.-]+$')) then
    begin()
    call('HDEL', task_key(t), field)
    note(task_key(t) .. ': ' .. field .. ' is made anew')
    task[field] = nil
  end
end
if #done > 0 then
  local since = task and task.created or call('ZSCORE', TASKS, t) or int(NOW)
  call('HSET', task_key(t), 'created', since)
  call('ZADD', TASKS, 'NX', since, t)
  for _, status in pairs(TASK_STATUS) do call('ZREM', status_key(status), t) end
  call('HDEL', task_key(t), 'status')
  settle(t)
  emit(t, nil, nil, call('EXISTS', task_key(t)) == 1 and 'mended' or 'deleted')
end
return done
