-- Reads the figures of the last minutes.
-- Arguments: minutes (how many).
-- Answers {number of the present minute since 1970, {{field, figure, ...}, ...}}, the present minute first.

local present = math.floor(NOW / 60000)
local figures = {}
for back = 0, tonumber(args.minutes) - 1 do figures[#figures + 1] = call('HGETALL', minute_key(present - back)) end
return { present, figures }
