-- Renews the lease of a run and writes its progress, if there is any.
-- Arguments: task, name, run, attempt, owner, queue, lease_ms, progress?, message? (JSON).
-- Answers 'ok', or 'lost' if another attempt owns the stage or none does.

-- The fields of a record that a heartbeat needs, and those of its summary.
local HEARTBEAT_FIELDS = { 'owner', 'lease', unpack(SUMMARY_FIELDS) }

local task, node = args.task, args.name
local member = slot_member(task, node, args.run, args.attempt, args.owner)
local record = load_record_fields(task, node, HEARTBEAT_FIELDS)
local lease = format_integer(NOW + tonumber(args.lease_ms))
if not is_owned(record) then
  -- The processes of a lost run are still ending: until then they keep the slot, unless it was taken away.
  call('ZADD', slots_key(args.queue), 'XX', lease, member)
  return 'lost'
end
local has_progress = args.progress and tonumber(args.progress) > tonumber(record.progress or -1)
local has_message = args.message and args.message ~= record.message
local fields = { lease = lease }
if has_progress then fields.progress = args.progress end
if has_message then fields.message = args.message end
update_record(task, node, record, fields)
call('ZADD', slots_key(args.queue), lease, member)
-- The public JSON must not expire while its run goes on.
if call('TTL', public_json_key(task, node)) < tonumber(args.ttl) / 2 then
  write_public_json(task, node, load_record(task, node))
end
if has_progress or has_message then publish_event(task, node, record, 'progress') end
return 'ok'
