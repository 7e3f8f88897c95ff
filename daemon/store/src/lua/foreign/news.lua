-- Compares stages with the JSONs that are under their keys now, and deletes what other workers have removed. Stops
-- early if the news get large. Most stages are our own, whose public JSON we wrote: for one of those this is two short
-- reads.
-- Arguments: stages (a list of task|name), most_bytes, lost_after_ms, ignore? (hashes of JSONs that count for nothing).
-- Answers {number of stages that were compared, {position, key, sha, ttl, json, overdue, ...}}: what is neither ours
-- nor known, or known and not written again for too long (`overdue` is 1).

-- Deletes a stage that another worker wrote and has removed, or only its note where there is a record of ours.
local function delete_stage(task, node, record)
  local note = read_note(task, node)
  require_writable()
  delete_note(task, node)
  local keys = { public_json_key(task, node), older_public_json_key(task, node) }
  if record and record.runner == 'foreign' and call('EXISTS', unpack(keys)) == 0 then
    preserve_current_end(task, node, load_record(task, node))
    call('DEL', stage_key(task, node), history_key(task, node))
    record = nil
  elseif record and note then
    continue_revision(record, note)
    update_record(task, node, record, {})
  end
  update_task_status(task)
  if record then
    publish_event(task, node, record, 'progress')
  elseif call('EXISTS', task_key(task)) == 1 then
    publish_event(task, node, nil, 'removed')
  else
    publish_event(task, nil, nil, 'deleted')
  end
end

-- Whether the stage was adopted, and no callback about it is still to be sent.
local function is_adopted(record)
  return record.runner == 'foreign' and (record.seen or record.seen_older) and record.callback_status ~= 'pending'
end

local FIELDS = { 'state', 'rev', 'run', 'runner', 'projected', 'seen', 'seen_older', 'callback_status' }

-- Answers the few fields of a record that are needed here; nil where there is none.
local function load_short_record(task, node)
  local values = redis.pcall('HMGET', stage_key(task, node), unpack(FIELDS))
  if values.err then return { damage = true } end
  if not values[1] then return nil end
  local record = {}
  for position, field in ipairs(FIELDS) do record[field] = values[position] or nil end
  record.damage = not TASK_STATUS[record.state]
  return record
end

-- Whether a value may be the JSON of a stage, so that other values under names of three parts are not read whole.
local function is_plausible(key)
  local first = redis.pcall('GETRANGE', key, 0, 0)
  return type(first) == 'string' and string.find(first, '^[%s{]') ~= nil
end

-- Answers whether the JSON that was found is the noted one, and whether it was not written again for too long: the
-- expiry of its key says when it was written, and where there is none, the time of the note.
local function check_note(task, node, note, foreign)
  if not foreign or not note or note.sha ~= foreign[2] then return false, false end
  local member, ttl = stage_member(task, node), foreign[3]
  if ttl >= 0 then
    local written = NOW - math.max(0, tonumber(args.ttl) * 1000 - ttl)
    call('ZADD', FOREIGN, format_integer(written + tonumber(args.lost_after_ms)), member)
  end
  -- Not later than a whole silence from now, also where the clock was set back.
  local latest = NOW + tonumber(args.lost_after_ms)
  if tonumber(call('ZSCORE', FOREIGN, member) or 0) > latest then
    call('ZADD', FOREIGN, format_integer(latest), member)
  end
  local is_overdue = tonumber(call('ZSCORE', FOREIGN, member) or NOW) <= NOW
  return not is_overdue, is_overdue
end

local count, bytes, found = 0, 0, {}
for _, member in iterate_list(args.stages) do
  if bytes > tonumber(args.most_bytes) then break end
  count = count + 1
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  local record = load_short_record(task, node)
  -- A damaged record stays as it is until it is repaired.
  if not (record and (record.damage or is_in_flight(record.state))) then
    local note = read_note(task, node)
    local today, older = public_json_key(task, node), older_public_json_key(task, node)
    local foreign, is_written_over
    if record or is_plausible(today) or is_plausible(older) then
      foreign, is_written_over = find_foreign_stage(task, node, record)
    end
    local is_known, is_overdue = check_note(task, node, note, foreign)
    if foreign and not is_known then
      bytes = bytes + #foreign[4]
      found[#found + 1] = count - 1
      for _, part in ipairs(foreign) do found[#found + 1] = part end
      found[#found + 1] = is_overdue and 1 or 0
    elseif not foreign then
      if is_written_over then restore_public_json(task, node) end
      local is_there = call('EXISTS', today, older) > 0
      if note then
        -- Waiting callbacks are sent first.
        local has_subscribers = not is_there and call('EXISTS', external_subscribers_key(task, node)) == 1
        if not has_subscribers then delete_stage(task, node, record) end
      elseif not is_there and (record and is_adopted(record) or not record and call('ZSCORE', stages_key(task), node)) then
        delete_stage(task, node, record)
      end
    end
  end
end
return { count, found }
