-- Notes what another worker has in flight, so that lists, status and events show it; its JSON stays as it is. Arguments:
-- task, name, key, sha, state, written, lost (when it counts as lost), progress?, duration_ms, queue, created. Answers 1
-- when that is news; -1 when the task has as many stages outside the catalog
-- as it may, 0 when it was noted before, the JSON has changed or a run of ours is in flight.

local t, n = A.task, A.name
if sha_at(A.key) ~= A.sha then return 0 end
local r = load(t, n)
if r and (r.damage or in_flight(r.state)) then return 0 end
if is_surplus_stage(t, n) then return -1 end
local before = noted(t, n)
if before and before.sha == A.sha then return 0 end
call('ZADD', FOREIGN, A.lost, queue_member(t, n))
local rev
if r then
  follow_noted(r, before)
  change(t, n, r, {})
  rev = r.rev
else
  rev = int((before and tonumber(before.rev) or 0) + 1)
end
local started = ''
if A.state == 'RUNNING' then
  started = before and before.state == 'RUNNING' and before.started or A.written
end
call('HSET', foreign_key(t), n, table.concat({ A.state, rev, A.sha, started, A.progress or '', A.duration_ms }, '|'))
index_foreign(t, n)
settle(t)
local entry = noted(t, n)
if not before or before.state ~= A.state then
  emit(t, n, shown(r, entry), A.state == 'RUNNING' and 'started' or 'queued')
elseif before.progress ~= entry.progress or before.duration_ms ~= entry.duration_ms then
  emit(t, n, shown(r, entry), 'progress')
end
return 1
