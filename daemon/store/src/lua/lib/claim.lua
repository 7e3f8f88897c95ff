-- How a daemon takes runs from a queue, and how they go back.

-- The fields of a record that the owner of its run needs.
local CLAIMED_FIELDS = { 'state', 'run', 'attempt', 'queue', 'input', 'input_pub', 'fresh', 'dispatch' }

-- Stages of a queue that do not wait any more, of which one call clears as many at most.
local MOST_OUTDATED = 100

-- Stages whose message is with the workers already stand before the others of their queue, in their order.
local SENT_BEFORE = 1e15

-- Answers where a stage waits in its queue: `order` is its number, `dispatch` the id of its message, if it has one.
local function get_queue_score(order, dispatch)
  return dispatch and format_integer(tonumber(order) - SENT_BEFORE) or order
end

-- Whether the attempt that the call is about runs in the record, and its owner is the one that calls.
-- Arguments: run, attempt, owner.
local function is_owned(record)
  return record and record.state == 'RUNNING' and record.run == args.run and record.attempt == args.attempt
    and record.owner == args.owner
end

-- Puts the run of the record, which its owner has no more, back into its queue; `fields` are what else changes.
-- Reads: foreign_key. Reads, writes: stage_key, task_key, stages_key. Writes: queue_key, public_json_key, TASKS, EXPIRY,
-- FOREIGN, status_index_key, node_index_key, EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, ttl.
local function return_run(task, node, record, fields)
  fields.state = 'PENDING'
  fields.owner = false
  fields.lease = false
  fields.progress = false
  fields.message = false
  update_record(task, node, record, fields)
  call('ZADD', queue_key(record.queue), get_queue_score(record.qseq, record.dispatch), stage_member(task, node))
  write_public_json(task, node, record)
  update_task_status(task)
  publish_event(task, node, record, 'reaped')
end

-- Answers how many stages of the queue wait to be joined: their messages are with the workers, so they need no free slot.
-- Reads: queue_key. Arguments: queue.
local function count_joinable()
  if string.sub(args.queue, 1, 7) ~= 'celery:' then return 0 end
  return call('ZCOUNT', queue_key(args.queue), '-inf', '(0')
end

-- Builds what the owner of a run gets: {task, name, {field, value, ...}}.
local function build_claim(task, node, record)
  local fields = {}
  for _, field in ipairs(CLAIMED_FIELDS) do
    if record[field] then
      fields[#fields + 1] = field
      fields[#fields + 1] = record[field]
    end
  end
  return { task, node, fields }
end

-- Answers the claim that the owner made of a slot, `member` of slots_key; nil where its run does not go on.
-- Reads: stage_key. Arguments: owner.
local function find_claim(member) -- rare
  local task, node, run, attempt, owner = string.match(member, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)|(.+)$')
  if owner ~= args.owner then return nil end
  local record = load_record_fields(task, node, { 'owner', unpack(CLAIMED_FIELDS) })
  if record and not record.damage and record.state == 'RUNNING' and record.run == run and record.attempt == attempt
    and record.owner == owner then
    return build_claim(task, node, record)
  end
end

-- Answers up to `most` claims that the owner made and whose answer it never got: runs that hold a slot for it, and that
-- it does not name as `running`; and how many slots of the queue are held. Writes nothing.
-- Reads: slots_key, stage_key. Arguments: queue, owner, running (members of slots_key, as a JSON array).
local function list_unanswered_claims(most)
  local claims = {}
  local members = call('ZRANGE', slots_key(args.queue), 0, -1)
  local ending = '|' .. args.owner
  for position = 1, #members do
    local member = members[position]
    -- Nothing in a member is written differently in JSON.
    if #claims < most and string.sub(member, -#ending) == ending
      and not string.find(args.running, '"' .. member .. '"', 1, true) then
      claims[#claims + 1] = find_claim(member)
    end
  end
  return claims, #members
end

-- Takes the run of a queue entry for the owner. Answers what the owner gets, and the number of the event; nil where the
-- stage does not wait.
-- Reads, writes: stage_key, task_key. Writes: queue_key, slots_key, public_json_key, STATS, status_index_key,
-- EVENT_SEQUENCE, EVENTS. Arguments: db, keep_events, ttl, queue, owner, lease_ms.
local function start_attempt(member)
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  -- What is no stage cannot be one that waits.
  local record = task and load_record(task, node)
  if not record or record.damage or record.state ~= 'PENDING' or record.queue ~= args.queue then
    require_writable()
    call('ZREM', queue_key(args.queue), member)
    return nil
  end
  -- An attempt whose message is with the workers goes on.
  local attempt = record.dispatch and record.attempt or format_integer(tonumber(record.attempt or 0) + 1)
  local lease = format_integer(NOW + tonumber(args.lease_ms))
  -- The public JSON shows the revision that is written. A full Redis refuses this write, and so it comes first.
  update_record(task, node, record, { state = 'RUNNING', attempt = attempt, owner = args.owner, lease = lease,
    started = record.dispatch and record.started or NOW_DIGITS, progress = false, message = false, projected = true })
  call('ZREM', queue_key(args.queue), member)
  call('ZADD', slots_key(args.queue), lease, slot_member(task, node, record.run, attempt, args.owner))
  write_public_json(task, node, record)
  -- It was in flight before: its task does not expire.
  set_task_status(task, 'running')
  return build_claim(task, node, record), publish_stage_event(task, node, record, nil, 'started')
end

-- Takes up to `most` runs of a queue for the owner: first those of claims without an answer, then the next ones, as slots
-- are free. Answers {{claim, ...}, whether others wait, the number of the last event}.
-- Reads, writes: queue_key, slots_key, stage_key, task_key, EVENT_SEQUENCE. Writes: public_json_key, STATS,
-- status_index_key, EVENTS. Arguments: db, keep_events, ttl, queue, slots, owner, lease_ms, running.
local function claim_runs(most) -- rare
  local queue = queue_key(args.queue)
  local claims, held = list_unanswered_claims(most)
  local free = math.min(most - #claims, math.max(tonumber(args.slots) - held, count_joinable()))
  local others = free <= 0 and call('EXISTS', queue) or 0
  local outdated, last_event = 0, nil
  while free > 0 and outdated < MOST_OUTDATED do
    -- One more than is taken shows whether others wait.
    local members = call('ZRANGE', queue, 0, free)
    others = #members > free and 1 or 0
    for position = 1, #members - others do
      local claim, event = start_attempt(members[position])
      if claim then
        claims[#claims + 1] = claim
        last_event = event
        free = free - 1
      else
        outdated = outdated + 1
      end
    end
    if others == 0 then break end
  end
  return { claims, others, last_event or call('GET', EVENT_SEQUENCE) or '0' }
end
