-- Keeps the callback of a submit that joined a stage which somebody else runs, until that stage's end is seen: by adopt,
-- by a run of ours under the same name, or by the executor's look. Arguments: task, name, key, sha (of the JSON that was
-- judged to be in flight), url, host. Answers 0 when the JSON has changed meanwhile or a run of ours
-- has begun, -1 when as many wait as may.

local t, n = A.task, A.name
local r = load(t, n)
if r and in_flight(r.state) then return 0 end
if sha_at(A.key) ~= A.sha then return 0 end
if A.url then
  local key = watch_key(t, n)
  if call('HLEN', key) >= tonumber(A.most_callbacks) and call('HEXISTS', key, A.url) == 0 then return -1 end
  call('HSETNX', key, A.url, asked('joined', A.host))
  call('ZADD', WATCHES, 'NX', int(NOW), queue_member(t, n))
end
call('HINCRBY', STATS, 'joins', 1)
return 1
