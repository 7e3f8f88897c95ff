-- Notes of what other workers have in flight (S5): in `foreign_key` by node, and in FOREIGN by the time at which the
-- stage counts as lost. All views show a note instead of what we have of the stage, unless a run of ours is in flight:
-- then what the worker writes counts for nothing.

-- Answers a note as a table; nil for what is none.
local function parse_note(text)
  if not text then return nil end
  local state, rev, sha, started, progress, duration_ms =
    string.match(text, '^(%u+)|(%d+)|(%x+)|(%d*)|([%d.]*)|(%d+)$')
  if not state then return nil end
  return { state = state, rev = rev, sha = sha, started = started ~= '' and started or nil,
    progress = progress ~= '' and progress or nil, duration_ms = duration_ms }
end

-- Answers the note of a stage; nil where there is none.
-- Reads: foreign_key.
local function read_note(task, node) return parse_note(call('HGET', foreign_key(task), node)) end

-- Answers the notes of a task by node, and whether there are any.
-- Reads: foreign_key.
local function read_notes(task) -- rare
  local flat = call('HGETALL', foreign_key(task))
  local found = {}
  for position = 1, #flat, 2 do found[flat[position]] = parse_note(flat[position + 1]) end
  return found, #flat > 0
end

-- Deletes the note of a stage.
-- Writes: foreign_key, FOREIGN.
local function delete_note(task, node)
  if call('HDEL', foreign_key(task), node) == 1 then call('ZREM', FOREIGN, stage_member(task, node)) end
end

-- Answers the record that views show: ours, or what was noted of another worker's stage. Either may be nil.
local function choose_shown_record(record, note)
  if not note or (record and is_in_flight(record.state)) then return record end
  record = record or {}
  return { state = note.state, attempt = '1',
    rev = format_integer(math.max(tonumber(record.rev or 0), tonumber(note.rev))),
    queue = record.queue, runner = 'foreign', progress = note.progress,
    message = '"written by another worker"', hits = record.hits, joins = record.joins, saved_ms = record.saved_ms,
    started = note.started, duration_ms = note.duration_ms }
end

-- Raises the revision in `record` to that of the note, so that the next one follows both.
local function continue_revision(record, note)
  if note then record.rev = format_integer(math.max(tonumber(record.rev or 0), tonumber(note.rev))) end
end
