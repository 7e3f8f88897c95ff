-- Deletes every key of a task and nothing of any other (S4).
-- Arguments: task, force, names (the catalog).
-- Answers {'in_flight', name, ...} if it is refused, {'more', deliveries} if it has to be called again, or {'deleted',
-- records, public JSONs, queued, deliveries, known}: how many of each were deleted, and whether the task existed.

local task = args.task
local names, is_listed = {}, {}
for _, node in ipairs(call('ZRANGE', stages_key(task), 0, -1)) do
  names[#names + 1] = node
  is_listed[node] = true
end
local own = #names
for node in string.gmatch(args.names or '', '[^ ]+') do
  if not is_listed[node] then names[#names + 1] = node end
end
local refusal = { 'in_flight' }
for position = 1, own do
  local state = call('HGET', stage_key(task, names[position]), 'state')
  if is_in_flight(state) then refusal[#refusal + 1] = names[position] end
end
-- The caller has checked those that other workers have in flight.
if #refusal > 1 and args.force ~= '1' then return refusal end

-- Deliveries that one call deletes: there may be many thousands.
local STEP = 1000
local records, public_jsons, queued, deliveries = 0, 0, 0, 0
local page = call('ZRANGE', task_deliveries_key(task), 0, STEP - 1)
for _, id in ipairs(page) do
  local ending = call('HGET', delivery_key(id), 'end')
  deliveries = deliveries + delete_delivery(task, id)
  -- Callbacks of it that are not in the outbox yet are dropped where the end is missing.
  if ending then call('DEL', end_key(ending)) end
end
if #page == STEP then return { 'more', deliveries } end
for _, node in ipairs(names) do
  local queue = call('HGET', stage_key(task, node), 'queue')
  if queue then queued = queued + call('ZREM', queue_key(queue), stage_member(task, node)) end
  local upload = call('HMGET', stage_key(task, node), 'upload', 'res_run', 'res_attempt')
  if upload[1] then
    local member = upload_member(task, node, upload[2], upload[3])
    if call('EXISTS', upload_key(member)) == 0 then
      call('ZREM', uploads_key(upload[1]), member)
    elseif call('ZSCORE', uploads_key(upload[1]), member) then
      -- It has begun: the daemon that uploads the files undoes that, also after it was killed in the middle.
      call('ZADD', uploads_key(upload[1]), NOW_DIGITS, member)
    end
  end
  records = records + call('DEL', stage_key(task, node))
  call('DEL', callbacks_key(task, node), history_key(task, node))
  delete_external_subscribers(task, node)
  call('ZREM', AWAITED, stage_member(task, node))
  public_jsons = public_jsons + call('DEL', public_json_key(task, node), older_public_json_key(task, node))
end
call('DEL', task_deliveries_key(task))
delete_disk_count(task)
local known = call('EXISTS', task_key(task))
delete_task(task)
if known + records + public_jsons > 0 then publish_event(task, nil, nil, 'deleted') end
return { 'deleted', records, public_jsons, queued, deliveries, known }
