-- Forgets an upload that was undone. Arguments: directory, member.

call('ZREM', uploads_key(A.directory), A.member)
return call('DEL', upload_key(A.member))
