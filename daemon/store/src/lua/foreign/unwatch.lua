-- Ends a stage of another worker that was not heard of again: tells those who wait for it, forgets that it was noted as in
-- flight, and makes it a record where there is none, so that the task can be shown. Arguments: task, name, lost? (its JSON
-- is there and counts as lost), ignore? (shas of JSONs that count as lost), queue, path, error, error_short (JSON), ended,
-- created. Answers the number of callbacks; nothing is done while there is news of the stage.

local t, n = A.task, A.name
local r = load(t, n)
local entry = noted(t, n)
local is_waited_for = call('EXISTS', watch_key(t, n)) == 1
if (r and (r.damage or in_flight(r.state))) or foreign_stage(t, n, r) then return 0 end
if not is_waited_for and not A.lost then return 0 end
if is_surplus_stage(t, n) then return 0 end
local head = r and projection_head(t, n, r)
local is_ours = r and redis.pcall('GETRANGE', projection_key(t, n), 0, #head - 1) == head
local seen = not is_ours and sha_at(projection_key(t, n)) or false
local seen_older = sha_at(older_key(t, n)) or false
if r and r.seen == (seen or nil) and r.seen_older == (seen_older or nil) and not entry and not is_waited_for then return 0 end
begin()
forget_noted(t, n)
if not r then
  r = { rev = '0' }
  follow_noted(r, entry)
  change(t, n, r, { created = A.ended, state = 'FAILED', attempt = '1', queue = A.queue, runner = 'foreign',
    ended = A.ended, duration_ms = '0', input = '{}', path = A.path, callback = 'null',
    error = A.error, error_short = A.error_short, given_up = '1', seen = seen, seen_older = seen_older })
  call('EXPIRE', stage_key(t, n), A.ttl)
  index_foreign(t, n)
  settle(t)
  emit(t, n, r, 'failed')
elseif entry or A.lost then
  -- What we have of it stands again.
  follow_noted(r, entry)
  change(t, n, r, { seen = seen, seen_older = seen_older })
  settle(t)
  emit(t, n, r, 'reaped')
end
local _, told = deliver_watched(t, n, nil, 'FAILED', A.error, '0')
return told
