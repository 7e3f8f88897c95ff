-- Begins a processing, unless one is under way (V1: 409). With `force` the one under way loses the video: none of its
-- steps can be submitted any more.
-- Arguments: video, task, run, processing (JSON), change (JSON), force?.
-- Answers {'unknown'}, {'busy', run} or {'started'}.

local now = call('HMGET', video_key(args.video), 'created', 'active')
if not now[1] then return { 'unknown' } end
if now[2] and not args.force then return { 'busy', now[2] } end
call('HSET', video_key(args.video), 'processing', args.processing, 'active', args.run, 'rev', '1')
call('ZADD', VIDEOS_ACTIVE, NOW_DIGITS, args.video)
publish_event(args.task, nil, nil, 'pipeline', args.change)
return { 'started' }
