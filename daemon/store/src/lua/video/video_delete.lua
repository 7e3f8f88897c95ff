-- Forgets a video. Arguments: video, task. Answers {'unknown'}, {'busy', run} or {'deleted'}.

local now = call('HMGET', video_key(A.video), 'created', 'active')
if not now[1] then return { 'unknown' } end
if now[2] then return { 'busy', now[2] } end
call('DEL', video_key(A.video))
call('ZREM', VIDEOS, A.video)
call('ZREM', VIDEOS_ACTIVE, A.video)
emit(A.task, nil, nil, 'video')
return { 'deleted' }
