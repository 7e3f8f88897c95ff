-- Forgets a message that has ended or is nowhere, once no record names it, and the note that a worker goes on with it.
-- Arguments: task, name, message (its id).
-- Answers 1 if it was forgotten, else 0.

local task, node = args.task, args.name
local record = load_record_fields(task, node, { 'dispatch', 'lingers', unpack(SUMMARY_FIELDS) })
if record and record.dispatch == args.message then return 0 end
local lingers = record and record.lingers == args.message
if lingers then require_writable() end
local forgotten = call('HDEL', DISPATCHES, args.message)
if lingers then
  local is_over = not record.damage and not is_in_flight(record.state)
  update_record(task, node, record, { lingers = false, message = not is_over and record.message or false })
  if is_over then publish_event(task, node, record, 'progress') end
end
return forgotten
