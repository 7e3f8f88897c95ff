-- Gives up a stage that another worker had in flight and does not report any more: notifies its external subscribers,
-- deletes its note, and makes it a FAILED record where there is none, so that the task can be shown. Nothing happens if
-- there is news of the stage.
-- Arguments: task, name, lost? (its JSON is there and counts as lost), ignore? (hashes of JSONs that count as lost),
-- queue, path, error, error_short (JSON), ended, created, most_stages.
-- Answers the number of callbacks.

local task, node = args.task, args.name
local record = load_record(task, node)
local note = read_note(task, node)
local is_waited_for = call('EXISTS', external_subscribers_key(task, node)) == 1
if (record and (record.damage or is_in_flight(record.state))) or find_foreign_stage(task, node, record) then return 0 end
if not is_waited_for and not args.lost then return 0 end
if is_surplus_stage(task, node) then return 0 end
local head = record and build_public_json_head(task, node, record)
local is_ours = record and redis.pcall('GETRANGE', public_json_key(task, node), 0, #head - 1) == head
local seen = not is_ours and hash_json_at(public_json_key(task, node)) or false
local seen_older = hash_json_at(older_public_json_key(task, node)) or false
local is_known = record and record.seen == (seen or nil) and record.seen_older == (seen_older or nil)
if is_known and not note and not is_waited_for then return 0 end
require_writable()
delete_note(task, node)
if not record then
  record = { rev = '0' }
  continue_revision(record, note)
  update_record(task, node, record, { created = args.ended, state = 'FAILED', attempt = '1', queue = args.queue,
    runner = 'foreign', ended = args.ended, duration_ms = '0', input = '{}', path = args.path, callback = 'null',
    error = args.error, error_short = args.error_short, given_up = '1', seen = seen, seen_older = seen_older })
  call('EXPIRE', stage_key(task, node), args.ttl)
  index_foreign_stage(task, node)
  update_task_status(task)
  publish_event(task, node, record, 'failed')
elseif note or args.lost then
  -- What we have of it stands again.
  continue_revision(record, note)
  update_record(task, node, record, { seen = seen, seen_older = seen_older })
  update_task_status(task)
  publish_event(task, node, record, 'reaped')
end
local _, count = deliver_to_external_subscribers(task, node, nil, 'FAILED', args.error, '0')
return count
