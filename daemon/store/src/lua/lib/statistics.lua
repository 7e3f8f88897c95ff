-- Figures of each node, over all its runs: how long those took that succeeded, counted in buckets, how many failed, and
-- what hits have saved. What is damaged there keeps no run from its end.

local function durations_key(node) return 'onceover:durations:' .. node end

-- The last bucket: of runs that took 30 days and more. The bucket `n` is of those that took 2^(n/4) milliseconds and
-- more, so each is a fifth wider than the one before.
local LAST_BUCKET = 125

-- Counts a run that has ended; one that was cancelled says nothing of its node.
-- Writes: durations_key.
local function count_ended_run(node, outcome, duration_ms)
  local key = durations_key(node)
  if outcome == 'SUCCESS' then
    local bucket = math.floor(4 * math.log(math.max(1, tonumber(duration_ms))) / math.log(2))
    redis.pcall('HINCRBY', key, format_integer(math.min(bucket, LAST_BUCKET)), 1)
    redis.pcall('HSET', key, 'last_ms', duration_ms)
  elseif outcome == 'FAILED' then
    redis.pcall('HINCRBY', key, 'failed', 1)
  end
end

-- Counts hits of a node's result, which saved so many milliseconds together.
-- Writes: durations_key.
local function count_node_hits(node, count, saved_ms)
  local key = durations_key(node)
  redis.pcall('HINCRBY', key, 'hits', count)
  if saved_ms ~= '0' then redis.pcall('HINCRBY', key, 'saved_ms', saved_ms) end
end
