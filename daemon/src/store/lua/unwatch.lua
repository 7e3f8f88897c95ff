-- Tells those who wait for a stage of somebody else that it was not heard of again, and makes that a record where there is
-- none, so that the task can be shown. Arguments: task, name, ignore? (shas of JSONs that count as lost), queue, path,
-- error, error_short (JSON). Answers the number of callbacks; nothing is told while there is news of the stage.

local t, n = A.task, A.name
local r = load(t, n)
if (r and in_flight(r.state)) or call('EXISTS', watch_key(t, n)) == 0 or foreign_stage(t, n, r) then return 0 end
if not r then
  r = { rev = '0' }
  change(t, n, r, { created = int(NOW), state = 'FAILED', attempt = '1', queue = A.queue, runner = 'foreign',
    ended = int(NOW), duration_ms = '0', input = '{}', input_pub = '{}', path = A.path, callback = 'null',
    error = A.error, error_short = A.error_short, given_up = '1', seen = sha_at(projection_key(t, n)) or false,
    seen_older = sha_at(older_key(t, n)) or false })
  call('EXPIRE', stage_key(t, n), A.ttl)
  index_stage(t, n, int(call('INCR', 'onceover:order')))
  settle(t)
  emit(t, n, r, 'failed')
end
local _, told = deliver_watched(t, n, { state = 'FAILED' }, 'FAILED', '{}', A.error, 0)
return told
