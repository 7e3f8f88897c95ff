-- Included after the prelude where it matters whether another worker wrote a stage (S5).

-- {key, sha, milliseconds to live, json} of a JSON that is neither ours (`head` is how ours begins) nor known already (`seen`).
local function foreign_at(key, seen, head)
  if head then
    local start = redis.pcall('GETRANGE', key, 0, #head - 1)
    if type(start) == 'table' or start == '' or start == head then return nil end
  end
  local sha, json = sha_at(key)
  if not sha or sha == seen or (A.ignore and string.find(A.ignore, sha, 1, true)) then return nil end
  return { key, sha, call('PTTL', key), json }
end

-- What another worker wrote for the stage, today's spelling first; nothing while a run of ours is in flight.
local function foreign_stage(t, n, r)
  if r and in_flight(r.state) then return nil end
  return foreign_at(projection_key(t, n), r and r.seen, r and projection_head(t, n, r))
    or foreign_at(older_key(t, n), r and r.seen_older, nil)
end
