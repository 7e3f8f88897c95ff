-- Takes the next run of a queue, if a slot is free.
-- Arguments: queue, slots, owner, lease_ms, names.
-- Answers {task, name, view, others}: the view of the task after that, and whether other runs wait; or nothing.

if call('ZCARD', slots_key(args.queue)) >= tonumber(args.slots) then return false end
for _ = 1, 100 do
  local member = call('ZRANGE', queue_key(args.queue), 0, 0)[1]
  if not member then return false end
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  local record = load_record(task, node)
  require_writable()
  call('ZREM', queue_key(args.queue), member)
  if record and not record.damage and record.state == 'PENDING' and record.queue == args.queue then
    local attempt = format_integer(tonumber(record.attempt or 0) + 1)
    local lease = format_integer(NOW + tonumber(args.lease_ms))
    update_record(task, node, record, { state = 'RUNNING', attempt = attempt, owner = args.owner, lease = lease,
      started = format_integer(NOW), progress = false, message = false })
    call('ZADD', slots_key(args.queue), lease, slot_member(task, node, record.run, attempt, args.owner))
    write_public_json(task, node, record)
    update_task_status(task)
    publish_event(task, node, record, 'started')
    return { task, node, read_task_view(task), call('EXISTS', queue_key(args.queue)) }
  end
end
return false
