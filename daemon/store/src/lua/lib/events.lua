-- Events: numbered, kept in a stream, published. Readers of all events, dashboards among them, listen to one channel,
-- and daemons to another one on which only what they act upon is published, so that hits cost them nothing.

-- Publishes an event of this kind about a task, or one of its stages with `node` and the summary of that; each may be
-- nil. `pipeline` is the progress of a video's pipeline as JSON, for events about that. Answers the event's number.
-- Writes: EVENT_SEQUENCE, EVENTS; publishes on the channels of the database. Arguments: db, keep_events.
local function publish_summary(task, node, summary, kind, pipeline, wakes_daemons)
  local seq = call('INCR', EVENT_SEQUENCE)
  local number = format_integer(seq)
  local json = '{"v":1,"seq":' .. number .. ',"ts":' .. format_time(NOW_DIGITS) .. ',"task_id":"' .. task .. '"'
    .. (node and ',"task_name":"' .. node .. '"' or '') .. ',"kind":"' .. kind .. '"'
    .. (summary and ',"stage":' .. summary or '') .. (pipeline and ',"pipeline":' .. pipeline or '') .. '}'
  call('XADD', EVENTS, 'MAXLEN', '~', args.keep_events, number .. '-0', 'e', json)
  call('PUBLISH', 'onceover:' .. args.db .. ':events', json)
  if wakes_daemons then call('PUBLISH', 'onceover:' .. args.db .. ':wake', json) end
  return seq
end

-- Publishes an event of this kind about a stage with `record` and `note`, which is nil where another worker has nothing
-- in flight. Answers the event's number.
-- Writes: EVENT_SEQUENCE, EVENTS; publishes on the channels of the database. Arguments: db, keep_events.
local function publish_stage_event(task, node, record, note, kind)
  -- A daemon acts upon a hit only where a callback reports it, and never upon a join.
  local wakes_daemons = kind ~= 'joined' and (kind ~= 'hit' or record.callback_status == 'pending')
  return publish_summary(task, node, build_summary_json(choose_shown_record(record, note)), kind, nil, wakes_daemons)
end

-- Publishes an event of this kind about a task, or one of its stages with `node` and `record`; each may be nil.
-- `pipeline` is the progress of a video's pipeline as JSON, for events about that. Answers the event's number.
-- Reads: foreign_key. Writes: EVENT_SEQUENCE, EVENTS; publishes on the channels of the database. Arguments: db,
-- keep_events.
local function publish_event(task, node, record, kind, pipeline)
  if not node or not record then return publish_summary(task, node, nil, kind, pipeline, true) end
  local note = not is_in_flight(record.state) and read_note(task, node) or nil
  return publish_stage_event(task, node, record, note, kind)
end
