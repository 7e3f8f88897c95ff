-- Registers a video.
-- Arguments: video (id), task, facts (JSON).
-- Answers 1, or 0 if the id exists.

if call('EXISTS', video_key(args.video)) == 1 then return 0 end
call('HSET', video_key(args.video), 'facts', args.facts, 'created', NOW_DIGITS)
call('ZADD', VIDEOS, NOW_DIGITS, args.video)
publish_event(args.task, nil, nil, 'video')
return 1
