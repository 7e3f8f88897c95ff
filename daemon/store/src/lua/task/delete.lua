-- Removes every key of a task and nothing of any other (S4). Arguments: task, force, names (the catalog).
-- Answers {'in_flight', name, ...}, {'more', deliveries} when it is to be called again, or {'deleted', records, projections,
-- queued, deliveries}.

local t = A.task
local names, seen = {}, {}
for _, n in ipairs(call('ZRANGE', stages_key(t), 0, -1)) do
  names[#names + 1] = n
  seen[n] = true
end
local own = #names
for n in string.gmatch(A.names or '', '[^ ]+') do
  if not seen[n] then names[#names + 1] = n end
end
local flying = { 'in_flight' }
for i = 1, own do
  if in_flight(call('HGET', stage_key(t, names[i]), 'state')) then flying[#flying + 1] = names[i] end
end
-- Those that other workers have in flight the caller has looked at.
if #flying > 1 and A.force ~= '1' then return flying end

-- Deliveries that one step forgets: there may be many thousands.
local STEP = 1000
local records, projections, queued, deliveries = 0, 0, 0, 0
local page = call('ZRANGE', task_deliveries_key(t), 0, STEP - 1)
for _, id in ipairs(page) do
  local ending = call('HGET', delivery_key(id), 'end')
  deliveries = deliveries + forget_delivery(t, id)
  -- What is not in the outbox yet is dropped where this is missed.
  if ending then call('DEL', end_key(ending)) end
end
if #page == STEP then return { 'more', deliveries } end
for _, n in ipairs(names) do
  local queue = call('HGET', stage_key(t, n), 'queue')
  if queue then queued = queued + call('ZREM', queue_key(queue), queue_member(t, n)) end
  local u = call('HMGET', stage_key(t, n), 'upload', 'res_run', 'res_attempt')
  if u[1] then
    local member = upload_member(t, n, u[2], u[3])
    if call('EXISTS', upload_key(member)) == 0 then
      call('ZREM', uploads_key(u[1]), member)
    elseif call('ZSCORE', uploads_key(u[1]), member) then
      -- Begun: whoever takes its files to the store undoes that, also one that was killed in the middle.
      call('ZADD', uploads_key(u[1]), int(NOW), member)
    end
  end
  records = records + call('DEL', stage_key(t, n))
  call('DEL', callbacks_key(t, n))
  forget_watched(t, n)
  call('ZREM', AWAITED, queue_member(t, n))
  projections = projections + call('DEL', projection_key(t, n), older_key(t, n))
end
call('DEL', task_deliveries_key(t))
forget_disk(t)
local known = call('EXISTS', task_key(t))
forget_task(t)
if known + records + projections > 0 then emit(t, nil, nil, 'deleted') end
return { 'deleted', records, projections, queued, deliveries, known }
