-- Ends an upload: appends its fields to the output of the result, so that nothing the run has written changes, and
-- lists the files that are at the store.
-- Arguments: directory, task, name, run, attempt, fields and files (JSON without the brackets around).
-- Answers 1, also for a repeated call; 0 if the result does not stand any more (R7).

local task, node = args.task, args.name
local record = load_record(task, node)
if not is_standing_result(record, args.run, args.attempt) then return 0 end
local member = upload_member(task, node, args.run, args.attempt)
local before
if args.fields ~= '' and record.uploaded ~= '1' then
  before = string.match(record.res_output or '', '^(.*[^%s])%s*}%s*$')
  if not before then return 0 end
end
require_writable()
call('ZREM', uploads_key(args.directory), member)
call('DEL', upload_key(member))
if record.uploaded == '1' then return 1 end
local fields = { uploaded = '1' }
if before then
  fields.res_output = before .. (string.match(before, '{$') and '' or ',') .. args.fields .. '}'
end
if args.files ~= '' then fields.res_files = args.files end
update_record(task, node, record, fields)
deliver_awaiting_callbacks(task, node, record)
rewrite_public_json(task, node, record)
publish_event(task, node, record, 'uploaded')
return 1
