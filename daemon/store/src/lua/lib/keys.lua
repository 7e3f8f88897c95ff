-- Names of keys and of members of sets. What lies there is in docs/architecture.md.

-- A stage: its record, its public JSON in today's spelling and in the older one, what waits for the end of its run.
local function stage_key(task, node) return 'onceover:stage:' .. task .. ':' .. node end
local function public_json_key(task, node) return task .. ':node:' .. node end
local function older_public_json_key(task, node) return task .. ':' .. string.gsub(node, '%.', ':', 1) end
local function callbacks_key(task, node) return 'onceover:callbacks:' .. task .. ':' .. node end

-- A task, its stages in the order of their first requests, its deliveries; all tasks, and those that expire.
local function task_key(task) return 'onceover:task:' .. task end
local function stages_key(task) return 'onceover:task:' .. task .. ':stages' end
local function task_deliveries_key(task) return 'onceover:task:' .. task .. ':deliveries' end
local function status_index_key(status) return 'onceover:tasks:status:' .. status end
local function node_index_key(node) return 'onceover:tasks:node:' .. node end
local TASKS = 'onceover:tasks'
local EXPIRY = 'onceover:expiry'

-- A queue: the stages that wait, the slots that are held; the number of the last run in any queue; when `reap` was last
-- called.
local function queue_key(queue) return 'onceover:queue:' .. queue end
local function slots_key(queue) return 'onceover:held:' .. queue end
local ORDER = 'onceover:order'
local REAPER = 'onceover:reaper'

-- The messages that were sent to Celery workers, by id, as JSON: what a later owner of the run needs to find one.
local DISPATCHES = 'onceover:dispatches'

-- Stages of other workers: what a task has in flight, and all of these by the time at which they count as lost; who
-- waits for the end of one, and all that a client waits for.
local function foreign_key(task) return 'onceover:foreign:' .. task end
local FOREIGN = 'onceover:foreign'
local function external_subscribers_key(task, node) return 'onceover:watch:' .. task .. ':' .. node end
local EXTERNAL_SUBSCRIPTIONS = 'onceover:watches'

-- Ends of runs that callbacks report; the ends with callbacks that are not in the outbox yet, and who these are.
local function end_key(id) return 'onceover:end:' .. id end
local function fan_out_key(id) return 'onceover:telling:' .. id end
local FAN_OUTS = 'onceover:telling'

-- Deliveries, and the outbox.
local function delivery_key(id) return 'onceover:delivery:' .. id end
local DELIVERIES = 'onceover:deliveries'
local DELIVERIES_EXPIRY = 'onceover:deliveries:expiry'
local function deliveries_key(state) return 'onceover:deliveries:' .. state end
local OUTBOX = 'onceover:outbox'
local OUTBOX_HOSTS = 'onceover:outbox:hosts'
local OUTBOX_HELD = 'onceover:outbox:held'
local function host_outbox_key(host) return 'onceover:outbox:host:' .. host end
local function breaker_key(host) return 'onceover:outbox:breaker:' .. host end

-- Uploads of a data directory, one of them, and the stages whose callbacks wait for theirs.
local function uploads_key(directory) return 'onceover:uploads:' .. directory end
local function upload_key(member) return 'onceover:upload:' .. member end
local AWAITED = 'onceover:awaited'

local function video_key(video) return 'onceover:video:' .. video end
local VIDEOS = 'onceover:videos'
local VIDEOS_ACTIVE = 'onceover:videos:active'

local function idempotency_key(hash) return 'onceover:idempotency:' .. hash end

-- Counts, bytes on disk by task, the last number of an event, the events.
local STATS = 'onceover:stats'
local DISK = 'onceover:disk'
local EVENT_SEQUENCE = 'onceover:seq'
local EVENTS = 'onceover:events'

-- The lease on the id of a data directory: `place`, `owner` and `beat`, which changes with every renewal.
local function directory_key(directory) return 'onceover:directory:' .. directory end

-- A stage as a member of a set.
local function stage_member(task, node) return task .. '|' .. node end

-- An attempt that holds a slot, as a member of `slots_key`.
local function slot_member(task, node, run, attempt, owner)
  return task .. '|' .. node .. '|' .. run .. '|' .. attempt .. '|' .. owner
end

-- The files of one result on their way to the object store, as a member of `uploads_key`.
local function upload_member(task, node, run, attempt) return task .. '|' .. node .. '|' .. run .. '|' .. attempt end

-- Refuses to go on where Redis is full: the first write of a script whose others a full Redis would accept.
-- Writes: STATS (changes nothing once it is there).
local function require_writable() call('HSETNX', STATS, 'hits', '0') end
