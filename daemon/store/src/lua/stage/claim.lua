-- Takes the next run of a queue, when a slot is free. Arguments: queue, slots, owner, lease_ms, names.
-- Answers {task, name, view, others}: the view as a reader sees it after that, and whether other runs wait; or nothing.

if call('ZCARD', held_key(A.queue)) >= tonumber(A.slots) then return false end
for _ = 1, 100 do
  local member = call('ZRANGE', queue_key(A.queue), 0, 0)[1]
  if not member then return false end
  local t, n = string.match(member, '^([^|]+)|(.+)$')
  local r = load(t, n)
  begin()
  call('ZREM', queue_key(A.queue), member)
  if r and not r.damage and r.state == 'PENDING' and r.queue == A.queue then
    local attempt = int(tonumber(r.attempt or 0) + 1)
    local lease = int(NOW + tonumber(A.lease_ms))
    change(t, n, r, { state = 'RUNNING', attempt = attempt, owner = A.owner, lease = lease, started = int(NOW),
      progress = false, message = false })
    call('ZADD', held_key(A.queue), lease, held_member(t, n, r.run, attempt, A.owner))
    project(t, n, r)
    settle(t)
    emit(t, n, r, 'started')
    return { t, n, read_view(t), call('EXISTS', queue_key(A.queue)) }
  end
end
return false
