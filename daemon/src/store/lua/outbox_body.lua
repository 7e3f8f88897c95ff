-- Fixes what a delivery sends, so that each try sends the same. Arguments: id, body. Answers the body that counts.

if call('EXISTS', delivery_key(A.id)) == 0 then return false end
call('HSETNX', delivery_key(A.id), 'body', A.body)
-- What it was made of is in it.
call('HDEL', delivery_key(A.id), 'stage', 'reuse')
return call('HGET', delivery_key(A.id), 'body')
