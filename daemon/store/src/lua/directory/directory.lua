-- Takes or renews the lease on a data directory's id. Arguments: directory, place (JSON), owner, beat, ms, instead_of?
-- (whose lease, as `place`, is taken over). Answers nothing when it is held now, else {place, beat} of who has it.

local key = directory_key(A.directory)
local held = call('HMGET', key, 'place', 'owner', 'beat')
if held[1] and held[2] ~= A.owner and held[1] ~= A.instead_of then return { held[1], held[3] } end
call('HSET', key, 'place', A.place, 'owner', A.owner, 'beat', A.beat)
call('PEXPIRE', key, A.ms)
return false
