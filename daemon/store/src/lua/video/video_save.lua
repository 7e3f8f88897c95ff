-- Writes how far a processing is, when it is still the one under way and nobody has written since. Arguments: video,
-- task, run, expect (revision), rev, processing (JSON), change (JSON), ended?. Answers 1, or 0: read again.

local now = call('HMGET', video_key(A.video), 'active', 'rev')
if now[1] ~= A.run or now[2] ~= A.expect then return 0 end
call('HSET', video_key(A.video), 'processing', A.processing, 'rev', A.rev)
if A.ended then
  call('HDEL', video_key(A.video), 'active')
  call('ZREM', VIDEOS_ACTIVE, A.video)
end
emit(A.task, nil, nil, 'pipeline', A.change)
return 1
