-- The uploads of a data directory that are due, oldest first. One daemon works on a directory at a time, so they are not
-- marked as taken. Arguments: directory, limit, busy (members under way). Answers {milliseconds until the
-- next one is due or -1, {member, what, output, {field, value, ...}, ...}}: what is `do`, or `undo` where the result does not
-- stand any more but objects of it may be at the store. Nothing is due later than `longest_ms` from now.

local key, limit = uploads_key(A.directory), tonumber(A.limit)
local busy, held = {}, 0
for _, member in each(A.busy) do
  busy[member] = true
  held = held + 1
end
local taken, count, next = {}, 0, -1
-- What is due later than anything can be was put there before the clock was set back: it is due now.
for _, member in ipairs(call('ZRANGEBYSCORE', key, '(' .. int(NOW + tonumber(A.longest_ms)), '+inf', 'LIMIT', 0, 100)) do
  call('ZADD', key, int(NOW), member)
end
-- Those that turn out to be void make room for others at the next look.
local entries = call('ZRANGE', key, 0, limit + held, 'WITHSCORES')
for i = 1, #entries, 2 do
  local member = entries[i]
  if not busy[member] then
    local wait = tonumber(entries[i + 1]) - NOW
    if wait > 0 or count >= limit then
      next = math.max(0, wait)
      break
    end
    local t, n, run, attempt = string.match(member, '^([^|]+)|([^|]+)|([^|]+)|([^|]+)$')
    local r = load(t, n)
    local begun = call('HGETALL', upload_key(member))
    if result_stands(r, run, attempt) and r.uploaded ~= '1' then
      taken[#taken + 1] = { member, 'do', r.res_output, begun }
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
return { int(next), taken }
