-- Counts for the header: tasks by status, what reuse did, the last sequence number. Arguments: names. What has expired is
-- forgotten first, so that it counts no more.

forget_expired(500)

return { tonumber(call('GET', SEQ) or 0), call('ZCARD', status_key('pending')), call('ZCARD', status_key('running')),
  call('ZCARD', status_key('completed')), call('ZCARD', status_key('failed')), call('ZCARD', status_key('cancelled')),
  call('HMGET', STATS, 'hits', 'joins', 'misses', 'saved_ms') }
