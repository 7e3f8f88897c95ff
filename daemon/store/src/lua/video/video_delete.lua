-- Deletes a video, unless it is being processed.
-- Arguments: video, task.
-- Answers {'unknown'}, {'busy', run} or {'deleted'}.

local now = call('HMGET', video_key(args.video), 'created', 'active')
if not now[1] then return { 'unknown' } end
if now[2] then return { 'busy', now[2] } end
call('DEL', video_key(args.video))
call('ZREM', VIDEOS, args.video)
call('ZREM', VIDEOS_ACTIVE, args.video)
publish_event(args.task, nil, nil, 'video')
return { 'deleted' }
