-- Renews a run's lease and, when given, writes its progress. Arguments: task, name, run, attempt, owner,
-- queue, lease_ms, progress?, message? (JSON). Answers 'ok' or 'lost'.

local BEAT_FIELDS = { 'owner', 'lease', unpack(SUMMARY_FIELDS) }

local t, n = A.task, A.name
local member = held_member(t, n, A.run, A.attempt, A.owner)
local r = load_some(t, n, BEAT_FIELDS)
local lease = int(NOW + tonumber(A.lease_ms))
if not r or r.state ~= 'RUNNING' or r.run ~= A.run or r.attempt ~= A.attempt or r.owner ~= A.owner then
  -- Its processes are still ending: until then the slot, if nobody has taken it away, is theirs.
  call('ZADD', held_key(A.queue), 'XX', lease, member)
  return 'lost'
end
local moved = A.progress and tonumber(A.progress) > tonumber(r.progress or -1)
local said = A.message and A.message ~= r.message
local fields = { lease = lease }
if moved then fields.progress = A.progress end
if said then fields.message = A.message end
change(t, n, r, fields)
call('ZADD', held_key(A.queue), lease, member)
-- The public JSON must not run out while its run goes on.
if call('TTL', projection_key(t, n)) < tonumber(A.ttl) / 2 then project(t, n, load(t, n)) end
if moved or said then emit(t, n, r, 'progress') end
return 'ok'
