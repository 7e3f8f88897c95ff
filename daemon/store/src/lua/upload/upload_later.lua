-- Tries an upload again later. Arguments: directory, task, name, run, attempt, wait_ms, error. Answers 1 when callbacks left
-- that had waited for it, because the store has not taken it for a minute; else 0.

local PATIENCE_MS = 60000

local member = upload_member(A.task, A.name, A.run, A.attempt)
call('ZADD', uploads_key(A.directory), 'XX', int(NOW + tonumber(A.wait_ms)), member)
local key = upload_key(member)
call('HSETNX', key, 'since', int(NOW))
-- Set back since, the clock would make it wait for as long again.
if tonumber(call('HGET', key, 'since')) > NOW then call('HSET', key, 'since', int(NOW)) end
call('HINCRBY', key, 'tries', 1)
call('HSET', key, 'error', A.error)
call('EXPIRE', key, int(2 * tonumber(A.ttl)))
local r = load(A.task, A.name)
if not result_stands(r, A.run, A.attempt) or NOW - tonumber(call('HGET', key, 'since')) < PATIENCE_MS then return 0 end
return deliver_uploaded(A.task, A.name, r) and 1 or 0
