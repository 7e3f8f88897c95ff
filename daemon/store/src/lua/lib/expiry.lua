-- Tasks that have expired.

-- Deletes up to `count` tasks that have expired, and publishes `deleted` for each. Answers their number. It only gives
-- memory back, so it goes on where Redis is full.
-- Reads: stage_key. Reads, writes: task_key, stages_key, foreign_key. Writes: EXPIRY, TASKS, FOREIGN, status_index_key,
-- node_index_key, EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, names, ttl.
local function delete_expired_tasks(count)
  local due = call('ZRANGEBYSCORE', EXPIRY, '-inf', format_integer(NOW - 100), 'LIMIT', 0, count)
  for _, task in ipairs(due) do
    local has_stages = call('EXISTS', stages_key(task)) == 1
    call('ZREM', EXPIRY, task)
    update_task_status(task)
    if call('EXISTS', stages_key(task)) == 0 then
      if not has_stages then
        for node in string.gmatch(args.names or '', '[^ ]+') do call('ZREM', node_index_key(node), task) end
      end
      delete_task(task)
      publish_event(task, nil, nil, 'deleted')
    end
  end
  return #due
end
