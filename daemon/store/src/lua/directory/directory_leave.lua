-- Gives back the lease on the id of a data directory.
-- Arguments: directory, owner.

local key = directory_key(args.directory)
if call('HGET', key, 'owner') == args.owner then call('DEL', key) end
return true
