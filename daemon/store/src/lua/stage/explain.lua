-- Says how a submit would be decided now, and changes nothing. Arguments: as submit's for the decision. Answers
-- {'hit', input_changed, record}, {'join', record}, {'run', reason, record or {}}, or 'verify' and 'foreign' as submit.

local t, n = A.task, A.name
local r = load(t, n)
if r and r.damage then return { 'damaged', r.damage } end
local reason, ask = decide(t, n, r)
if ask then return ask end
local flat = call('HGETALL', stage_key(t, n))
if reason then return { 'run', reason, flat } end
if in_flight(r.state) then
  return { 'join', flat, call('ZRANK', queue_key(r.queue), queue_member(t, n)) or -1 }
end
return { 'hit', r.input_changed, flat }
