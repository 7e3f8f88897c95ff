-- One delivery. Arguments: id. Answers its fields, or nothing for an unknown one.

local flat = call('HGETALL', delivery_key(A.id))
if #flat == 0 then return false end
return flat
