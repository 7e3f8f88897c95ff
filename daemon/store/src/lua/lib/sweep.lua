-- Included after ending where expired tasks are forgotten.

-- Forgets up to `count` tasks that have expired. Answers their number. It only gives memory back, so it goes on where Redis
-- is full.
local function forget_expired(count)
  local due = call('ZRANGEBYSCORE', EXPIRY, '-inf', int(NOW - 100), 'LIMIT', 0, count)
  for _, t in ipairs(due) do
    local has_stages = call('EXISTS', stages_key(t)) == 1
    call('ZREM', EXPIRY, t)
    settle(t)
    if call('EXISTS', stages_key(t)) == 0 then
      if not has_stages then
        for n in string.gmatch(A.names or '', '[^ ]+') do call('ZREM', node_key(n), t) end
      end
      forget_task(t)
      emit(t, nil, nil, 'deleted')
    end
  end
  return #due
end
