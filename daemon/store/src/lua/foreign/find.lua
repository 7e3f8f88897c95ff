-- Finds what another worker wrote for one stage and is not adopted.
-- Arguments: task, name, ignore? (hashes of JSONs that count for nothing).
-- Answers {key, sha, ttl, json, 1 if it is noted as it is, else 0}; nothing where there is none.

local found = find_foreign_stage(args.task, args.name, load_record(args.task, args.name))
if not found then return false end
local note = read_note(args.task, args.name)
found[5] = note and note.sha == found[2] and 1 or 0
return found
