-- Writes the progress of a processing, if it is still the one under way and its revision is the expected one.
-- Arguments: video, task, run, expect (revision), rev, processing (JSON), change (JSON), ended?.
-- Answers 1; 0 if it has to be read again.

local now = call('HMGET', video_key(args.video), 'active', 'rev')
if now[1] ~= args.run or now[2] ~= args.expect then return 0 end
call('HSET', video_key(args.video), 'processing', args.processing, 'rev', args.rev)
if args.ended then
  call('HDEL', video_key(args.video), 'active')
  call('ZREM', VIDEOS_ACTIVE, args.video)
end
publish_event(args.task, nil, nil, 'pipeline', args.change)
return 1
