-- Whether a task's files are somebody's. Arguments: task, names (the catalog), queues. Answers one of
--   {'held'}         a slot of the task is held: its processes are not known to be gone
--   {'callbacks'}    a callback that tells of its files is still to be sent
--   {'known', view}  it has stages, of ours or of another worker
--   {'video'}        it belongs to a registered video
--   {'free'}         nobody knows it

local t = A.task
for _, queue in each(A.queues) do
  for _, member in ipairs(call('ZRANGE', held_key(queue), 0, -1)) do
    if string.sub(member, 1, #t + 1) == t .. '|' then return { 'held' } end
  end
end
for _, id in ipairs(call('ZRANGE', task_deliveries_key(t), 0, -1)) do
  if call('HGET', delivery_key(id), 'state') == 'pending' then return { 'callbacks' } end
end
local view = read_view(t)
if #view[2] > 0 or #view[3] > 0 then return { 'known', view } end
local video = string.match(t, '^video%-(.+)$')
if video and call('EXISTS', 'onceover:video:' .. video) == 1 then return { 'video' } end
return { 'free' }
