-- Names of keys and of members of sets. What lies there is in docs/architecture.md.

local function stage_key(t, n) return 'onceover:stage:' .. t .. ':' .. n end
local function task_key(t) return 'onceover:task:' .. t end
local function stages_key(t) return 'onceover:task:' .. t .. ':stages' end
local function task_deliveries_key(t) return 'onceover:task:' .. t .. ':deliveries' end
local function queue_key(q) return 'onceover:queue:' .. q end
local function held_key(q) return 'onceover:held:' .. q end
local function callbacks_key(t, n) return 'onceover:callbacks:' .. t .. ':' .. n end
local function end_key(id) return 'onceover:end:' .. id end
local function telling_key(id) return 'onceover:telling:' .. id end
local TELLING = 'onceover:telling'
local function watch_key(t, n) return 'onceover:watch:' .. t .. ':' .. n end
local WATCHES = 'onceover:watches'
local function foreign_key(t) return 'onceover:foreign:' .. t end
local FOREIGN = 'onceover:foreign'
local function delivery_key(id) return 'onceover:delivery:' .. id end
local function projection_key(t, n) return t .. ':node:' .. n end
local function older_key(t, n) return t .. ':' .. string.gsub(n, '%.', ':', 1) end
local AWAITED = 'onceover:awaited'
local OUTBOX = 'onceover:outbox'
local OUTBOX_HOSTS = 'onceover:outbox:hosts'
local OUTBOX_HELD = 'onceover:outbox:held'
local function host_outbox_key(host) return 'onceover:outbox:host:' .. host end
local function breaker_key(host) return 'onceover:outbox:breaker:' .. host end
local function uploads_key(directory) return 'onceover:uploads:' .. directory end
local function upload_key(member) return 'onceover:upload:' .. member end
local DELIVERIES = 'onceover:deliveries'
local DELIVERIES_EXPIRY = 'onceover:deliveries:expiry'
local function deliveries_key(state) return 'onceover:deliveries:' .. state end
local TASKS = 'onceover:tasks'
local function video_key(v) return 'onceover:video:' .. v end
local VIDEOS = 'onceover:videos'
local VIDEOS_ACTIVE = 'onceover:videos:active'
local function idempotency_key(hash) return 'onceover:idempotency:' .. hash end
local EXPIRY = 'onceover:expiry'
local STATS = 'onceover:stats'
local REAPER = 'onceover:reaper'
local DISK = 'onceover:disk'

-- The first write of a script whose other ones would not do as the first, and that a full Redis therefore would take.
local function begin() call('HSETNX', STATS, 'hits', '0') end

local SEQ = 'onceover:seq'
local EVENTS = 'onceover:events'
local function status_key(s) return 'onceover:tasks:status:' .. s end
local function node_key(n) return 'onceover:tasks:node:' .. n end
local function queue_member(t, n) return t .. '|' .. n end

local function held_member(t, n, run, attempt, owner)
  return t .. '|' .. n .. '|' .. run .. '|' .. attempt .. '|' .. owner
end

-- The files of one result, on their way to the object store.
local function upload_member(t, n, run, attempt) return t .. '|' .. n .. '|' .. run .. '|' .. attempt end
