-- What another worker has in flight (S5), as it was last noted: in the task's hash by node, and in FOREIGN by the time at
-- which the stage counts as lost. All views show it in the place of what we have of the stage, unless a run of ours is in
-- flight: then what the worker writes counts for nothing.

local function parse_noted(text)
  if not text then return nil end
  local state, rev, sha, started, progress, duration_ms =
    string.match(text, '^(%u+)|(%d+)|(%x+)|(%d*)|([%d.]*)|(%d+)$')
  if not state then return nil end
  return { state = state, rev = rev, sha = sha, started = started ~= '' and started or nil,
    progress = progress ~= '' and progress or nil, duration_ms = duration_ms }
end

-- Of one stage, or nil.
local function noted(t, n) return parse_noted(call('HGET', foreign_key(t), n)) end

-- Of all stages of a task, by node, and whether there are any.
local function all_noted(t)
  local flat = call('HGETALL', foreign_key(t))
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = parse_noted(flat[i + 1]) end
  return found, #flat > 0
end

local function forget_noted(t, n)
  if call('HDEL', foreign_key(t), n) == 1 then call('ZREM', FOREIGN, queue_member(t, n)) end
end

-- The record that views show: ours, or what was noted of another worker's. Either may be nil.
local function shown(r, entry)
  if not entry or (r and in_flight(r.state)) then return r end
  r = r or {}
  return { state = entry.state, attempt = '1', rev = int(math.max(tonumber(r.rev or 0), tonumber(entry.rev))),
    queue = r.queue, runner = 'foreign', progress = entry.progress,
    message = '"written by another worker"', hits = r.hits, joins = r.joins, saved_ms = r.saved_ms,
    started = entry.started, duration_ms = entry.duration_ms }
end

-- Lets the revision of a record go on from what was noted.
local function follow_noted(r, entry)
  if entry then r.rev = int(math.max(tonumber(r.rev or 0), tonumber(entry.rev))) end
end
