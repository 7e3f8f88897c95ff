-- Notes as the message of a stage whose run has ended that a worker goes on with what was sent for it, until that message
-- is forgotten.
-- Arguments: task, name, run, attempt, message (its id), text (JSON).
-- Answers 1; 0 if the stage has another run by now, or its message is forgotten.

local task, node = args.task, args.name
local record = load_record_fields(task, node, SUMMARY_FIELDS)
if not record or record.damage or is_in_flight(record.state) or record.run ~= args.run
  or record.attempt ~= args.attempt or call('HEXISTS', DISPATCHES, args.message) == 0 then
  return 0
end
update_record(task, node, record, { message = args.text, lingers = args.message })
publish_event(task, node, record, 'progress')
return 1
