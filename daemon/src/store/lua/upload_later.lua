-- Tries an upload again later. Arguments: directory, task, name, run, attempt, wait_ms, error. Answers 1.

local member = upload_member(A.task, A.name, A.run, A.attempt)
call('ZADD', uploads_key(A.directory), 'XX', int(NOW + tonumber(A.wait_ms)), member)
local key = upload_key(member)
call('HSETNX', key, 'since', int(NOW))
call('HINCRBY', key, 'tries', 1)
call('HSET', key, 'error', A.error)
call('EXPIRE', key, int(2 * tonumber(A.ttl)))
return 1
