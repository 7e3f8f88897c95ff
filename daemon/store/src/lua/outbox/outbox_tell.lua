-- Puts more callbacks of an ended run into the outbox.
-- Arguments: count.
-- Answers 0 if there were none, 1 if all are in it now, 2 if there are more.

local id = call('ZRANGE', FAN_OUTS, 0, 0)[1]
if not id then return 0 end
require_writable()
continue_fan_out(id, tonumber(args.count))
return 1 + call('EXISTS', FAN_OUTS)
