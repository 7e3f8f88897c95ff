-- What another worker wrote for one stage, if anything that is not taken over. Arguments: task, name, ignore?.
-- Answers {key, sha, ttl, json, noted (1 when it was noted as it is)} or nothing.

local found = foreign_stage(A.task, A.name, load(A.task, A.name))
if not found then return false end
local entry = noted(A.task, A.name)
found[5] = entry and entry.sha == found[2] and 1 or 0
return found
