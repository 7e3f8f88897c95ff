-- Reads the counts for the header. Tasks that have expired are deleted first, so that they do not count.
-- Arguments: names.
-- Answers {last sequence number, tasks pending, running, completed, failed, cancelled, {hits, joins, misses,
-- saved_ms}}.

delete_expired_tasks(500)

return { tonumber(call('GET', EVENT_SEQUENCE) or 0), call('ZCARD', status_index_key('pending')),
  call('ZCARD', status_index_key('running')), call('ZCARD', status_index_key('completed')),
  call('ZCARD', status_index_key('failed')), call('ZCARD', status_index_key('cancelled')),
  call('HMGET', STATS, 'hits', 'joins', 'misses', 'saved_ms') }
