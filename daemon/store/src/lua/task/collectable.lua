-- Decides whether the files of a task are still needed.
-- Arguments: task, names (the catalog), queues (a list).
-- Answers one of
--   {'held'}         a slot of the task is held: its processes may not have ended
--   {'callbacks'}    a callback that reports its files is still to be sent
--   {'known', view}  it has stages, of ours or of another worker
--   {'video'}        it belongs to a registered video
--   {'free'}         nothing knows it

local task = args.task
for _, queue in iterate_list(args.queues) do
  for _, member in ipairs(call('ZRANGE', slots_key(queue), 0, -1)) do
    if string.sub(member, 1, #task + 1) == task .. '|' then return { 'held' } end
  end
end
for _, id in ipairs(call('ZRANGE', task_deliveries_key(task), 0, -1)) do
  if call('HGET', delivery_key(id), 'state') == 'pending' then return { 'callbacks' } end
end
local view = read_task_view(task)
if #view[2] > 0 or #view[3] > 0 then return { 'known', view } end
local video = string.match(task, '^video%-(.+)$')
if video and call('EXISTS', video_key(video)) == 1 then return { 'video' } end
return { 'free' }
