-- What is counted in each minute, and how long queues are kept waiting.

-- The figures of a minute, by its number since 1970; every daemon of this Redis adds to them.
local function minute_key(minute) return 'onceover:minutes:' .. format_integer(minute) end

-- Returns how long the run that is next in `queue` has waited, in milliseconds; 0 where none waits.
-- Reads: queue_key, stage_key.
local function read_wait_of_next(queue)
  local member = call('ZRANGE', queue_key(queue), 0, 0)[1]
  if not member then return 0 end
  local task, node = string.match(member, '^([^|]+)|(.+)$')
  local queued = call('HGET', stage_key(task, node), 'queued')
  return queued and math.max(0, NOW - tonumber(queued)) or 0
end
