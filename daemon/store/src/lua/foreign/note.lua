-- Notes what another worker has in flight, so that lists, status and events show it; its JSON stays as it is.
-- Arguments: task, name, key, sha (of the JSON), state, written, lost (when it counts as lost), progress?, duration_ms,
-- queue, created, most_stages.
-- Answers 1 if that is news; 0 if it was noted before, the JSON has changed or a run of ours is in flight; -1 if the
-- task has as many stages outside the catalog as it may.

local task, node = args.task, args.name
if hash_json_at(args.key) ~= args.sha then return 0 end
local record = load_record(task, node)
if record and (record.damage or is_in_flight(record.state)) then return 0 end
if is_surplus_stage(task, node) then return -1 end
local before = read_note(task, node)
if before and before.sha == args.sha then return 0 end
call('ZADD', FOREIGN, args.lost, stage_member(task, node))
local rev
if record then
  continue_revision(record, before)
  update_record(task, node, record, {})
  rev = record.rev
else
  rev = format_integer((before and tonumber(before.rev) or 0) + 1)
end
local started = ''
if args.state == 'RUNNING' then
  started = before and before.state == 'RUNNING' and before.started or args.written
end
local parts = { args.state, rev, args.sha, started, args.progress or '', args.duration_ms }
call('HSET', foreign_key(task), node, table.concat(parts, '|'))
index_foreign_stage(task, node)
update_task_status(task)
local note = read_note(task, node)
if not before or before.state ~= args.state then
  publish_event(task, node, choose_shown_record(record, note), args.state == 'RUNNING' and 'started' or 'queued')
elseif before.progress ~= note.progress or before.duration_ms ~= note.duration_ms then
  publish_event(task, node, choose_shown_record(record, note), 'progress')
end
return 1
