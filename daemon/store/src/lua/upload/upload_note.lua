-- Records the progress of an upload. Without `field` it only asks whether the result still stands.
-- Arguments: task, name, run, attempt, field?, value?.
-- Answers 1; 0 if the result does not stand any more, then nothing is written.

local record = load_record(args.task, args.name)
if not is_standing_result(record, args.run, args.attempt) then return 0 end
if args.field then
  local key = upload_key(upload_member(args.task, args.name, args.run, args.attempt))
  call('HSET', key, args.field, args.value)
  if record.awaits_upload == '1' then await_upload(args.task, args.name) end
  -- It lives longer than any entry in the queue of uploads.
  call('EXPIRE', key, format_integer(2 * tonumber(args.ttl)))
end
return 1
