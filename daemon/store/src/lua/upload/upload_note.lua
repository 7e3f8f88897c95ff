-- Writes down how far an upload is. Arguments: task, name, run, attempt, field?, value?. Answers 1, or 0 when the result does
-- not stand any more: then nothing is written.

local r = load(A.task, A.name)
if not result_stands(r, A.run, A.attempt) then return 0 end
if A.field then
  local key = upload_key(upload_member(A.task, A.name, A.run, A.attempt))
  call('HSET', key, A.field, A.value)
  if r.awaits_upload == '1' then await_upload(A.task, A.name) end
  -- As long as there can be an entry that speaks of it.
  call('EXPIRE', key, int(2 * tonumber(A.ttl)))
end
return 1
