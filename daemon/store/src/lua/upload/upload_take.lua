-- Lists the uploads of a data directory that are due, oldest first. One daemon works on a directory at a time, so they
-- are not marked as taken.
-- Arguments: directory, limit, busy (a list of the members under way), longest_ms (nothing is due later than that from
-- now).
-- Answers {milliseconds until the next one is due or -1, {{member, what, output, {field, value, ...}}, ...}}: `what` is
-- `do`, or `undo` where the result does not stand any more but objects of it may be at the store.

local key, limit = uploads_key(args.directory), tonumber(args.limit)
local busy, held = {}, 0
for _, member in iterate_list(args.busy) do
  busy[member] = true
  held = held + 1
end
local taken, count, next = {}, 0, -1
-- What is due later than anything can be was put there before the clock was set back: it is due now.
local beyond = '(' .. format_integer(NOW + tonumber(args.longest_ms))
for _, member in ipairs(call('ZRANGEBYSCORE', key, beyond, '+inf', 'LIMIT', 0, 100)) do
  call('ZADD', key, NOW_DIGITS, member)
end
-- Entries that turn out to be void make room for others in the next call.
local entries = call('ZRANGE', key, 0, limit + held, 'WITHSCORES')
for position = 1, #entries, 2 do
  local member = entries[position]
  if not busy[member] then
    local wait = tonumber(entries[position + 1]) - NOW
    if wait > 0 or count >= limit then
      next = math.max(0, wait)
      break
    end
    local task, node, run, attempt = string.match(member, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)$')
    local record = load_record(task, node)
    local begun = call('HGETALL', upload_key(member))
    if is_standing_result(record, run, attempt) and record.uploaded ~= '1' then
      taken[#taken + 1] = { member, 'do', record.res_output, begun }
      count = count + 1
    elseif #begun > 0 then
      taken[#taken + 1] = { member, 'undo', '{}', begun }
      count = count + 1
    else
      call('ZREM', key, member)
      next = 0
    end
  end
end
return { format_integer(next), taken }
