-- Keeps the callback of a submit that joined a stage which another worker runs, until the end of that stage is seen: by
-- `adopt`, by a run of ours under the same name, or by `give_up`.
-- Arguments: task, name, key, sha (of the JSON that was found to be in flight), url?, host?, most_callbacks.
-- Answers 1; 0 if the JSON has changed meanwhile or a run of ours has begun, -1 if as many callbacks wait as may.

local task, node = args.task, args.name
local record = load_record(task, node)
if record and is_in_flight(record.state) then return 0 end
if hash_json_at(args.key) ~= args.sha then return 0 end
if args.url then
  local key = external_subscribers_key(task, node)
  if call('HLEN', key) >= tonumber(args.most_callbacks) and call('HEXISTS', key, args.url) == 0 then return -1 end
  call('HSETNX', key, args.url, encode_callback('joined', args.host))
  call('ZADD', EXTERNAL_SUBSCRIPTIONS, 'NX', NOW_DIGITS, stage_member(task, node))
end
call('HINCRBY', STATS, 'joins', 1)
return 1
