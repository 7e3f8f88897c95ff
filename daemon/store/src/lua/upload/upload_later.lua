-- Schedules the next try of an upload. Callbacks that wait for it are delivered once it has failed for a minute.
-- Arguments: directory, task, name, run, attempt, wait_ms, error.
-- Answers 1 if callbacks were delivered, else 0.

local PATIENCE_MS = 60000

local member = upload_member(args.task, args.name, args.run, args.attempt)
call('ZADD', uploads_key(args.directory), 'XX', format_integer(NOW + tonumber(args.wait_ms)), member)
local key = upload_key(member)
call('HSETNX', key, 'since', NOW_DIGITS)
-- If the clock was set back since, callbacks would wait for as long again.
if tonumber(call('HGET', key, 'since')) > NOW then call('HSET', key, 'since', NOW_DIGITS) end
call('HINCRBY', key, 'tries', 1)
call('HSET', key, 'error', args.error)
call('EXPIRE', key, format_integer(2 * tonumber(args.ttl)))
local record = load_record(args.task, args.name)
if not is_standing_result(record, args.run, args.attempt) then return 0 end
if NOW - tonumber(call('HGET', key, 'since')) < PATIENCE_MS then return 0 end
return deliver_awaiting_callbacks(args.task, args.name, record) and 1 or 0
