-- Moves stages that wait in a queue of Celery workers to queues whose runs this daemon makes. One whose message is with
-- the workers stays: its owner takes the message back first.
-- Arguments: queue, nodes (a list of {name, queue, runner}: where stages of these nodes go), waited_ms (only stages that
-- have waited for so long), from, count.
-- Answers {moved, next}: how many were moved, and the next `from`, or -1 at the end.

local targets = {}
for _, target in iterate_list(args.nodes) do targets[target[1]] = target end
local from, count, moved = tonumber(args.from), tonumber(args.count), 0
local members = call('ZRANGE', queue_key(args.queue), from, from + count - 1)
if #members > 0 then require_writable() end
for _, member in ipairs(members) do
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  local target = targets[node]
  local record = target and load_record(task, node)
  if record and not record.damage and record.state == 'PENDING' and record.queue == args.queue
    and not record.dispatch then
    -- Those behind it have waited less.
    if NOW - tonumber(record.queued or NOW) < tonumber(args.waited_ms) then return { moved, -1 } end
    call('ZREM', queue_key(args.queue), member)
    update_record(task, node, record, { queue = target[2], runner = target[3] })
    call('ZADD', queue_key(target[2]), record.qseq, member)
    write_public_json(task, node, record)
    publish_event(task, node, record, 'queued')
    moved = moved + 1
  end
end
return { moved, #members < count and -1 or from + count - moved }
