-- Deletes an upload that was undone.
-- Arguments: directory, member.

call('ZREM', uploads_key(args.directory), args.member)
return call('DEL', upload_key(args.member))
