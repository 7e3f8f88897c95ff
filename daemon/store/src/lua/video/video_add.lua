-- Registers a video. Arguments: video (id), task, facts (JSON). Answers 1, or 0 where the id is taken.

if call('EXISTS', video_key(A.video)) == 1 then return 0 end
call('HSET', video_key(A.video), 'facts', A.facts, 'created', int(NOW))
call('ZADD', VIDEOS, int(NOW), A.video)
emit(A.task, nil, nil, 'video')
return 1
