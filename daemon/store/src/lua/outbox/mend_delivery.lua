-- Sets aside a delivery that cannot be read.
-- Arguments: id, keep_seconds, aside_prefix.
-- Answers its new key, or nothing for an unknown one.

local key = delivery_key(args.id)
if call('EXISTS', key) == 0 then return false end
require_writable()
local aside = args.aside_prefix .. key
call('RENAME', key, aside)
call('EXPIRE', aside, args.keep_seconds)
local fields = redis.pcall('HMGET', aside, 'task', 'host')
local task, host = fields[1], fields[2]
if host then call('ZREM', host_outbox_key(host), args.id) end
delete_delivery(task or '', args.id)
return aside
