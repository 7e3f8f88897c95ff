-- Ends an upload: puts its fields at the end of the result's output, so that nothing the run has written changes, and says
-- what is at the store. Arguments: directory, task, name, run, attempt, fields and files (JSON without the brackets around).
-- Answers 1, also when told again; 0 when the result does not stand any more (R7).

local t, n = A.task, A.name
local r = load(t, n)
if not result_stands(r, A.run, A.attempt) then return 0 end
local member = upload_member(t, n, A.run, A.attempt)
local before
if A.fields ~= '' and r.uploaded ~= '1' then
  before = string.match(r.res_output or '', '^(.*[^%s])%s*}%s*$')
  if not before then return 0 end
end
begin()
call('ZREM', uploads_key(A.directory), member)
call('DEL', upload_key(member))
if r.uploaded == '1' then return 1 end
local fields = { uploaded = '1' }
if before then
  fields.res_output = before .. (string.match(before, '{$') and '' or ',') .. A.fields .. '}'
end
if A.files ~= '' then fields.res_files = A.files end
change(t, n, r, fields)
deliver_uploaded(t, n, r)
project_again(t, n, r)
emit(t, n, r, 'uploaded')
return 1
