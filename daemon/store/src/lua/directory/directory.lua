-- Takes or renews the lease on the id of a data directory.
-- Arguments: directory, place (JSON), owner, beat (changes with every renewal), ms (how long the lease lasts),
-- instead_of? (the `place` of a holder whose lease is taken over).
-- Answers nothing if the caller holds the lease now, else {place, beat} of its holder.

local key = directory_key(args.directory)
local held = call('HMGET', key, 'place', 'owner', 'beat')
if held[1] and held[2] ~= args.owner and held[1] ~= args.instead_of then return { held[1], held[3] } end
call('HSET', key, 'place', args.place, 'owner', args.owner, 'beat', args.beat)
call('PEXPIRE', key, args.ms)
return false
