-- Gives the lease on a data directory's id back. Arguments: directory, owner.

local key = directory_key(A.directory)
if call('HGET', key, 'owner') == A.owner then call('DEL', key) end
return true
