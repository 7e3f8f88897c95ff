-- Deliveries: each is one callback to one URL. It is in the lists by time of creation (all, by state, of its task)
-- until its record expires.

-- Answers the fields of a delivery (a flat list), with the stage that it reports as `stage` where its body is not
-- fixed.
-- Reads: delivery_key, end_key, stage_key.
local function read_delivery_to_send(id)
  local flat = call('HGETALL', delivery_key(id))
  local delivery = {}
  for position = 1, #flat, 2 do delivery[flat[position]] = flat[position + 1] end
  local stage = delivery['end'] and not delivery.body and build_end_stage_json(delivery['end'])
  if stage then
    flat[#flat + 1] = 'stage'
    flat[#flat + 1] = stage
  end
  return flat
end

-- Deletes a delivery and removes it from all lists. Answers 1 if its record still existed, else 0.
-- Reads: breaker_key, FAN_OUTS. Reads, writes: delivery_key, end_key. Writes: OUTBOX, OUTBOX_HELD, OUTBOX_HOSTS,
-- host_outbox_key, DELIVERIES, DELIVERIES_EXPIRY, deliveries_key, task_deliveries_key. Arguments: ttl.
local function delete_delivery(task, id)
  local delivery = call('HMGET', delivery_key(id), 'host', 'state', 'end')
  unschedule_delivery(id, delivery[1])
  if delivery[3] and delivery[2] == 'pending' then count_end_deliveries(delivery[3], -1) end
  call('ZREM', DELIVERIES, id)
  for _, state in ipairs({ 'pending', 'sent', 'failed' }) do call('ZREM', deliveries_key(state), id) end
  call('ZREM', DELIVERIES_EXPIRY, task .. '|' .. id)
  call('ZREM', task_deliveries_key(task), id)
  return call('DEL', delivery_key(id))
end

-- Builds the id of the delivery to a URL about a run.
local function build_delivery_id(run, url) return run .. '-' .. string.sub(redis.sha1hex(url), 1, 16) end

-- Adds a delivery that is due now. `end_id` is the end that it reports; the caller counts it there.
-- Reads: breaker_key. Writes: delivery_key, OUTBOX, OUTBOX_HOSTS, host_outbox_key, DELIVERIES, deliveries_key,
-- task_deliveries_key.
local function add_delivery(id, url, host, task, node, run, status, reuse, end_id)
  call('HSET', delivery_key(id), 'url', url, 'host', host, 'task', task, 'name', node, 'run', run, 'status', status,
    'reuse', reuse, 'end', end_id, 'created', NOW_DIGITS, 'attempts', '0', 'take', '0',
    'next', NOW_DIGITS, 'state', 'pending')
  schedule_delivery(id, host, NOW_DIGITS)
  call('ZADD', DELIVERIES, NOW_DIGITS, id)
  call('ZADD', deliveries_key('pending'), NOW_DIGITS, id)
  call('ZADD', task_deliveries_key(task), NOW_DIGITS, id)
end
