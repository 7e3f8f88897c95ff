-- Outbox. A delivery that is pending is in OUTBOX and in the outbox of its host, by the time it is due; the hosts are
-- in OUTBOX_HOSTS by the earliest of theirs, so that one full of deliveries does not stand before the others. Every
-- delivery is in the lists by time of creation (all, by state, of its task) until its record expires.

-- Until when a host is left alone, or 0: `until` and `wait` of its breaker. One that is further away than the wait it was
-- given was set by another clock.
local function open_until(till, wait)
  till = tonumber(till or 0)
  if till <= NOW or till - NOW > tonumber(wait or 0) then return 0 end
  return till
end

-- Adds `breaker_until` to the fields of a delivery that waits for its host's breaker.
local function add_breaker(fields, state, host)
  if state ~= 'pending' or not host then return end
  local breaker = call('HMGET', breaker_key(host), 'until', 'wait')
  local till = open_until(breaker[1], breaker[2])
  if till > 0 then
    fields[#fields + 1] = 'breaker_until'
    fields[#fields + 1] = int(till)
  end
end

-- A host comes after those that were served longer ago, and not before its breaker lets somebody through.
local function due_at_host(host)
  local first = call('ZRANGE', host_outbox_key(host), 0, 0, 'WITHSCORES')
  local h = call('HMGET', breaker_key(host), 'failures', 'until', 'wait', 'served')
  if not first[1] then
    call('ZREM', OUTBOX_HOSTS, host)
    if not h[1] then call('DEL', breaker_key(host)) end
    return
  end
  local served = tonumber(h[4] or 0)
  if served > NOW then served = 0 end
  call('ZADD', OUTBOX_HOSTS, int(math.max(tonumber(first[2]), open_until(h[2], h[3]), served)), host)
end

local function schedule(id, host, at)
  call('ZADD', OUTBOX, at, id)
  call('ZADD', host_outbox_key(host), at, id)
  due_at_host(host)
end

local function unschedule(id, host)
  call('ZREM', OUTBOX, id)
  call('HDEL', OUTBOX_HELD, id)
  if host then
    call('ZREM', host_outbox_key(host), id)
    due_at_host(host)
  end
end

-- What there is to tell of a run's end is kept once, in `end_key`, however many ask for it, and its input and output only
-- where the record of the stage holds them no more: until then they are read from there when a callback is sent. `pending`
-- counts the deliveries that are to be sent, `kept` says that one may be sent again. Ends of which callbacks are still to be
-- put into the outbox are in TELLING; who they are is in `telling_key`.

-- Names what is told of the result that stands.
local function result_end(t, n, r) return r.res_run or ('foreign:' .. t .. '|' .. n .. '|' .. (r.res_ended or '')) end

local function open_end(id, told)
  if call('EXISTS', end_key(id)) == 1 then return end
  local set = {}
  for field, value in pairs(told) do
    set[#set + 1] = field
    set[#set + 1] = value
  end
  call('HSET', end_key(id), unpack(set))
end

-- Of the result that stands.
local function open_result_end(t, n, r)
  local id = result_end(t, n, r)
  open_end(id, { task = t, name = n, state = 'SUCCESS', run = r.res_run or '',
    token = result_token(r.res_run, r.res_attempt, r.res_ended), duration_ms = r.res_duration_ms or '0' })
  return id
end

local function count_end(id, difference)
  local key = end_key(id)
  if call('EXISTS', key) == 0 then return end
  if tonumber(call('HINCRBY', key, 'pending', difference)) > 0 then
    call('PERSIST', key)
  elseif call('ZSCORE', TELLING, id) then
    return
  elseif call('HEXISTS', key, 'kept') == 1 then
    -- It is as old as any of its deliveries when these expire.
    call('PEXPIRE', key, int(tonumber(A.ttl) * 1000 + 60000))
  else
    call('DEL', key)
  end
end

local RESULT_FIELDS = { 'state', 'restore', 'run', 'input', 'input_pub', 'res_run', 'res_attempt', 'res_ended', 'res_input',
  'res_input_pub', 'res_output' }

-- Input and output of an end, as far as they are known.
local function told_values(e)
  if e.input then return e.input, e.output end
  local r = load_some(e.task, e.name, RESULT_FIELDS)
  if not r then return nil end
  if e.state ~= 'SUCCESS' then
    if r.run ~= e.run then return nil end
    return public_input(r), '{}'
  end
  local stands = r.state == 'SUCCESS' or r.restore == '1'
  if not stands or result_token(r.res_run, r.res_attempt, r.res_ended) ~= e.token then return nil end
  if r.state == 'SUCCESS' then return public_input(r), r.res_output end
  return r.res_input_pub or r.res_input or '{}', r.res_output
end

local function read_end(id)
  local e = read_hash(end_key(id))
  return e and TASK_STATUS[e.state or ''] and e.task and e.name and e or nil
end

-- Copies input and output to an end, before the record holds them no more, when something is still to be told of it.
local function keep_end(id)
  local counted = call('HMGET', end_key(id), 'pending', 'kept')
  if tonumber(counted[1] or 0) <= 0 and not counted[2] and not call('ZSCORE', TELLING, id) then return end
  local e = read_end(id)
  if not e then return end
  local input, output = told_values(e)
  if input then call('HSET', end_key(id), 'input', input, 'output', output or '{}') end
end

-- As `keep_end`, of what the record tells of now.
local function keep_ends(t, n, r)
  if r and r.state == 'SUCCESS' then
    keep_end(result_end(t, n, r))
  elseif r and r.run then
    keep_end(r.run)
  end
end

-- The stage as its run left it, as JSON; nil where that is known no more.
local function told_stage(id)
  local e = read_end(id)
  if not e then return nil end
  local input, output = told_values(e)
  if not input then return nil end
  return '{"status":"' .. e.state .. '","input_params":' .. input .. ',"output":' .. (output or '{}') .. ',"error":'
    .. (e.error or 'null') .. ',"duration":' .. seconds(e.duration_ms) .. '}'
end

-- A delivery's fields, with the stage it tells of where its body is not fixed.
local function delivery_to_send(id)
  local flat = call('HGETALL', delivery_key(id))
  local d = {}
  for i = 1, #flat, 2 do d[flat[i]] = flat[i + 1] end
  local stage = d['end'] and not d.body and told_stage(d['end'])
  if stage then
    flat[#flat + 1] = 'stage'
    flat[#flat + 1] = stage
  end
  return flat
end

-- Removes a delivery from wherever it is named. Answers 1 when its record was still there.
local function forget_delivery(t, id)
  local d = call('HMGET', delivery_key(id), 'host', 'state', 'end')
  unschedule(id, d[1])
  if d[3] and d[2] == 'pending' then count_end(d[3], -1) end
  call('ZREM', DELIVERIES, id)
  for _, state in ipairs({ 'pending', 'sent', 'failed' }) do call('ZREM', deliveries_key(state), id) end
  call('ZREM', DELIVERIES_EXPIRY, t .. '|' .. id)
  call('ZREM', task_deliveries_key(t), id)
  return call('DEL', delivery_key(id))
end

local function delivery_id(run, url) return run .. '-' .. string.sub(redis.sha1hex(url), 1, 16) end

-- `ending`: what it tells of; who puts it counts it there.
local function put_delivery(id, url, host, t, n, run, status, reuse, ending)
  call('HSET', delivery_key(id), 'url', url, 'host', host, 'task', t, 'name', n, 'run', run, 'status', status,
    'reuse', reuse, 'end', ending, 'created', int(NOW), 'attempts', '0', 'take', '0', 'next', int(NOW), 'state', 'pending')
  schedule(id, host, int(NOW))
  call('ZADD', DELIVERIES, int(NOW), id)
  call('ZADD', deliveries_key('pending'), int(NOW), id)
  call('ZADD', task_deliveries_key(t), int(NOW), id)
end

-- Writes a stage's public JSON again in place, with the expiry it has, when it is still the one we wrote.
local function project_again(t, n, r)
  local head = projection_head(t, n, r)
  local start = redis.pcall('GETRANGE', projection_key(t, n), 0, #head - 1)
  if start ~= head then return end
  local left = call('PTTL', projection_key(t, n))
  project(t, n, r)
  if left > 0 then call('PEXPIRE', projection_key(t, n), left) end
end

local CALLBACK_FIELDS = { 'callback_id', 'run_callback_id', 'run_callback_status', unpack(SUMMARY_FIELDS) }

-- The state of a delivery, as task and stage show it: that of the newest request which asked for one. The public JSON
-- of a stage shows that of the newest for its run, because a hit does not rewrite it (C2).
local function show_callback(t, n, id, state)
  if call('HGET', task_key(t), 'callback_id') == id then call('HSET', task_key(t), 'callback_status', state) end
  local r = load_some(t, n, CALLBACK_FIELDS)
  if not r then return end
  if r.callback_id == id and r.callback_status ~= state then change(t, n, r, { callback_status = state }) end
  if r.run_callback_id == id and r.run_callback_status ~= state then
    change(t, n, r, { run_callback_status = state })
    project_again(t, n, load(t, n))
  end
  emit(t, n, r, 'callback')
end

-- `reuse_info` of a request that waited for a run; `run` is nil for a stage that another worker ran.
local function joined_json(n, run)
  return '{"reuse_hit":true,"task_name":"' .. n .. '","source":"redis","cached_at":null,"state":"pending"'
    .. (run and (',"run_id":' .. quoted(run)) or '') .. '}'
end

-- Who asked for the run in flight is in `callbacks_key`, who waits for a stage that somebody else runs in `watch_key`, both
-- by URL: whether the first to ask started the run or joined it, and the host.
local function asked(how, host) return cjson.encode({ how, host }) end

local function read_asked(text)
  if string.sub(text, 1, 1) == '[' then
    local is_read, pair = pcall(cjson.decode, text)
    if is_read and type(pair[2]) == 'string' then return pair[1], pair[2] end
    return 'joined', ''
  end
  -- Of an earlier version: `started <host>` of a run, the host alone of somebody else's stage.
  local how, host = string.match(text, '^(%a+) (.+)$')
  return how or 'joined', host or text
end

-- Callbacks of one end that are put into the outbox in one step; the rest follows in steps of its own.
local TOLD_AT_ONCE = 100

-- Puts callbacks of an end into the outbox, about `most` of them.
local function tell_some(id, most)
  local e = call('HMGET', end_key(id), 'task', 'name', 'run', 'state', 'reuse_started', 'reuse_joined')
  local t, n, run = e[1], e[2], e[3]
  local key, cursor, told = telling_key(id), '0', 0
  -- The end is gone with its task when that is deleted.
  if t then
    repeat
      local page = call('HSCAN', key, cursor, 'COUNT', 100)
      cursor = page[1]
      local gone, put = {}, 0
      for i = 1, #page[2], 2 do
        local url = page[2][i]
        local how, host = read_asked(page[2][i + 1])
        local delivery = run ~= '' and delivery_id(run, url) or delivery_id('foreign-' .. id, t .. '|' .. n .. '|' .. url)
        if call('EXISTS', delivery_key(delivery)) == 0 then
          put_delivery(delivery, url, host, t, n, run, TASK_STATUS[e[4]], how == 'started' and e[5] or e[6], id)
          put = put + 1
        end
        gone[#gone + 1] = url
      end
      if put > 0 then count_end(id, put) end
      call_with_all('HDEL', key, gone)
      told = told + #gone
    until cursor == '0' or told >= most
  end
  if cursor == '0' then
    call('DEL', key)
    call('ZREM', TELLING, id)
    count_end(id, 0)
  end
end

-- Begins to tell those in `from` of an end.
local function tell(id, from, told)
  open_end(id, told)
  call('HSET', end_key(id), 'reuse_joined', told.reuse_joined, 'reuse_started', told.reuse_started)
  call('RENAME', from, telling_key(id))
  call('PERSIST', telling_key(id))
  call('ZADD', TELLING, int(NOW), id)
  tell_some(id, TOLD_AT_ONCE)
end

-- Takes over callbacks that an earlier version kept in the record.
local function take_former_callbacks(t, n, r)
  local gone = {}
  for field, value in pairs(r) do
    if string.sub(field, 1, 3) == 'cb:' then
      call('HSETNX', callbacks_key(t, n), string.sub(field, 4), value)
      gone[#gone + 1] = field
    end
  end
  for _, field in ipairs(gone) do r[field] = nil end
  call_with_all('HDEL', stage_key(t, n), gone)
end

-- One delivery for each distinct URL that asked for this run (C3), told how the run ended. `is_last`: the record is about to
-- hold another run.
local function deliver_run(t, n, r, state, error, duration_ms, is_last)
  take_former_callbacks(t, n, r)
  if call('EXISTS', callbacks_key(t, n)) == 0 then return end
  local told = { task = t, name = n, state = state, run = r.run, duration_ms = duration_ms or '0', error = error or nil,
    reuse_joined = joined_json(n, r.run), reuse_started = '{"reuse_hit":false,"task_name":"' .. n .. '","reason":'
      .. quoted(r.reason) .. ',"run_id":' .. quoted(r.run) .. '}' }
  if state == 'SUCCESS' then
    told.token = result_token(r.res_run, r.res_attempt, r.res_ended)
  elseif is_last then
    told.input = public_input(r)
    told.output = '{}'
  end
  tell(r.run, callbacks_key(t, n), told)
end

-- Callbacks about a result whose files go to the object store leave once they are there, so that the receiver gets their
-- URLs; until then they wait. The stages they wait for are in AWAITED, by the time after which
-- they wait no longer for an upload that is not heard of.
local UPLOAD_SILENT_MS = 600000

local function await_upload(t, n)
  call('ZADD', AWAITED, int(NOW + UPLOAD_SILENT_MS), queue_member(t, n))
end

-- They leave, with what there is; `r` may be nil. Answers whether there were any.
local function deliver_uploaded(t, n, r)
  if not r or r.awaits_upload ~= '1' then return false end
  change(t, n, r, { awaits_upload = false })
  call('ZREM', AWAITED, queue_member(t, n))
  deliver_run(t, n, r, 'SUCCESS', nil, r.res_duration_ms)
  return true
end

-- Callbacks that wait for a stage which somebody else runs are kept by themselves, for they have no run of ours.
local function forget_watched(t, n)
  call('ZREM', WATCHES, queue_member(t, n))
  return call('DEL', watch_key(t, n))
end

-- One delivery for each, told how the stage ended; `r` is its record where it has one. Answers the id of one, if any, and
-- their number.
local function deliver_watched(t, n, r, state, error, duration_ms)
  local key = watch_key(t, n)
  local url = call('HRANDFIELD', key)
  if not url then
    forget_watched(t, n)
    return nil, 0
  end
  local count = call('HLEN', key)
  -- The time tells it from one about an earlier end.
  local id = int(NOW) .. '-' .. string.sub(redis.sha1hex(t .. '|' .. n), 1, 16)
  local told = { task = t, name = n, state = state, run = '', duration_ms = duration_ms or '0', error = error or nil,
    reuse_joined = joined_json(n, nil), reuse_started = joined_json(n, nil) }
  if state == 'SUCCESS' then
    told.token = result_token(r.res_run, r.res_attempt, r.res_ended)
  else
    told.input = r and public_input(r) or '{}'
    told.output = '{}'
  end
  tell(id, key, told)
  forget_watched(t, n)
  return delivery_id('foreign-' .. id, t .. '|' .. n .. '|' .. url), count
end
