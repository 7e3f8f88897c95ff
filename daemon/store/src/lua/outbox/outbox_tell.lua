-- Puts more callbacks of a run that has ended into the outbox. Arguments: count. Answers 0 where there was none to put,
-- 1 where all are in it now, 2 where there are still more.

local id = call('ZRANGE', TELLING, 0, 0)[1]
if not id then return 0 end
begin()
tell_some(id, tonumber(A.count))
return 1 + call('EXISTS', TELLING)
