-- Begins a processing, unless one is under way (V1: 409). Arguments: video, task, run, processing (JSON), change (JSON),
-- force?. Answers {'unknown'}, {'busy', run}, or {'started'}. With force the one under way has lost the video from here
-- on: none of its steps can be submitted any more.

local now = call('HMGET', video_key(A.video), 'created', 'active')
if not now[1] then return { 'unknown' } end
if now[2] and not A.force then return { 'busy', now[2] } end
call('HSET', video_key(A.video), 'processing', A.processing, 'active', A.run, 'rev', '1')
call('ZADD', VIDEOS_ACTIVE, int(NOW), A.video)
emit(A.task, nil, nil, 'pipeline', A.change)
return { 'started' }
