-- Stages that other workers write (S5).

-- Answers {key, sha, milliseconds to live, json} of the JSON at `key`; nil where it is ours (`head` is how ours begins;
-- nil where we have none), known already (`seen` is its hash), to be ignored, or written for a run that we sent: the
-- second value is then true.
-- Reads: `key`. Arguments: ignore.
local function read_foreign_json(task, key, seen, head)
  if head then
    local start = redis.pcall('GETRANGE', key, 0, #head - 1)
    if type(start) == 'table' or start == '' or start == head then return nil end
  end
  local sha, json = hash_json_at(key)
  if not sha or sha == seen or (args.ignore and string.find(args.ignore, sha, 1, true)) then return nil end
  if is_of_sent_run(task, json) then return nil, true end
  return { key, sha, call('PTTL', key), json }
end

-- Answers what another worker wrote for the stage, as `read_foreign_json` does, today's spelling first; nil while a run
-- of ours is in flight. The second value is whether a worker wrote over the stage's public JSON for a run that we sent.
-- Reads: public_json_key, older_public_json_key. Arguments: ignore.
local function find_foreign_stage(task, node, record)
  if record and is_in_flight(record.state) then return nil end
  local head = record and build_public_json_head(task, node, record)
  local found, is_written_over = read_foreign_json(task, public_json_key(task, node), record and record.seen, head)
  found = found or read_foreign_json(task, older_public_json_key(task, node), record and record.seen_older, nil)
  return found, is_written_over
end

-- Writes the public JSON of a stage again, over what a worker wrote there for a run that we sent and that has ended.
-- Reads: stage_key. Writes: public_json_key, stage_key (`projected`). Arguments: ttl.
local function restore_public_json(task, node)
  local record = load_record(task, node)
  if not record or record.damage then return end
  require_writable()
  write_public_json(task, node, record)
  local left = call('PTTL', stage_key(task, node))
  if left > 0 then call('PEXPIRE', public_json_key(task, node), left) end
end

-- Whether the stage is a new one of a node outside the catalog (`queue` is empty), and its task has as many as it may.
-- Reads: stages_key. Arguments: queue, most_stages.
local function is_surplus_stage(task, node)
  return args.queue == '' and not call('ZSCORE', stages_key(task), node)
    and call('ZCARD', stages_key(task)) >= tonumber(args.most_stages)
end

-- Puts the stage of another worker into the indexes; a new task is created as of `created`. The index of a node outside
-- the catalog expires, because no submit can be about that node and nothing else deletes it.
-- Reads, writes: task_key (`created`), stages_key, ORDER. Writes: TASKS, node_index_key. Arguments: created,
-- queue, ttl.
local function index_foreign_stage(task, node)
  local order = call('ZSCORE', stages_key(task), node) or format_integer(call('INCR', ORDER))
  index_stage(task, node, order, args.created)
  if args.queue == '' then call('EXPIRE', node_index_key(node), 2 * tonumber(args.ttl)) end
end
