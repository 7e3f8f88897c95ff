-- Adds what a daemon has counted since its last call to the figures of the present minute, and the queues as they are:
-- of these the most that was seen counts. Where there is nothing to add, nothing is written.
-- Arguments: keep (milliseconds), ended, failed, hits, joins, misses, saved_ms, queues (a list).

local counts = {
  'ended', args.ended, 'failed', args.failed, 'hits', args.hits, 'joins', args.joins, 'misses', args.misses,
  'saved_ms', args.saved_ms,
}
local minute = minute_key(math.floor(NOW / 60000))
local added = {}
for position = 1, #counts, 2 do
  if counts[position + 1] ~= '0' then added[#added + 1] = { counts[position], counts[position + 1] } end
end
local seen = {}
for _, queue in iterate_list(args.queues) do
  local pending, running = call('ZCARD', queue_key(queue)), call('ZCARD', slots_key(queue))
  if pending > 0 or running > 0 then
    seen['pending:' .. queue], seen['running:' .. queue] = pending, running
    seen['oldest:' .. queue] = read_wait_of_next(queue)
  end
end
if #added == 0 and not next(seen) then return end

require_writable()
for _, change in ipairs(added) do call('HINCRBY', minute, change[1], change[2]) end
for field, figure in pairs(seen) do
  if figure > tonumber(call('HGET', minute, field) or -1) then call('HSET', minute, field, format_integer(figure)) end
end
call('PEXPIRE', minute, args.keep)
