-- Sets a delivery aside that cannot be read. Arguments: id, keep_seconds, aside_prefix. Answers the key that it has then, or
-- nothing when there is none.

local key = delivery_key(A.id)
if call('EXISTS', key) == 0 then return false end
begin()
local aside = A.aside_prefix .. key
call('RENAME', key, aside)
call('EXPIRE', aside, A.keep_seconds)
local fields = redis.pcall('HMGET', aside, 'task', 'host')
local t, host = fields[1], fields[2]
if host then call('ZREM', host_outbox_key(host), A.id) end
forget_delivery(t or '', A.id)
return aside
