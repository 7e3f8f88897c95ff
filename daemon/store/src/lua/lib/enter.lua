-- Included after the prelude where a stage that another worker wrote enters the lists.

-- Whether a stage of a node outside the catalog is one more than a task may have. Argument `most_stages`.
local function is_surplus_stage(t, n)
  return A.queue == '' and not call('ZSCORE', stages_key(t), n) and call('ZCARD', stages_key(t)) >= tonumber(A.most_stages)
end

-- Argument `created`: when the task began, if it is new. An index by node expires where no submit can be about that node
-- (`queue` is empty), because nothing else ever clears it up.
local function index_foreign(t, n)
  local order = call('ZSCORE', stages_key(t), n) or int(call('INCR', 'onceover:order'))
  index_stage(t, n, order, A.created)
  if A.queue == '' then call('EXPIRE', node_key(n), 2 * tonumber(A.ttl)) end
end
