-- Explains how a submit would be decided now, and changes nothing.
-- Arguments: task, name, mode, fp, in_files?, verified?, broken?, broken_how?, ignore?, as for `submit`.
-- Answers {'hit', input_changed, record}, {'join', record, position in the queue or -1}, {'run', reason, record or {}},
-- {'damaged', what}, or 'verify', 'foreign' and 'refuse' as `submit` does.

local task, node = args.task, args.name
local record = load_record(task, node)
if record and record.damage then return { 'damaged', record.damage } end
local reason, ask = decide_reuse(task, node, record)
if ask then return ask end
local flat = call('HGETALL', stage_key(task, node))
if reason then return { 'run', reason, flat } end
if is_in_flight(record.state) then
  return { 'join', flat, call('ZRANK', queue_key(record.queue), stage_member(task, node)) or -1 }
end
return { 'hit', record.input_changed, flat }
