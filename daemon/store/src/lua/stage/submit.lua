-- Decides reuse and claims the stage in one step (R1-R5).
-- Arguments:
--   task, name, queue, runner, path (JSON)
--   run                      id for a new run
--   input, input_pub         the request's input as JSON, and the same with secrets hidden
--   mode, fp, in_files?      the reuse policy, and what the input is compared by
--   callback (JSON), and with one url?, host?, hit_delivery? (id of the delivery after a hit), most_callbacks?
--   verified?                token of the result whose files are complete
--   broken?, broken_how?     token of the result whose files are not: artifact_missing or artifact_changed
--   ignore?                  hashes of JSONs of other workers that count as lost
--   sources?                 groups of nodes: for a run the task needs a stage of each group
--   files?                   the request names files
--   inputs?                  what was found of them: present, missing, or may_come (missing, and where a stage in flight
--                            may still put them)
--   most_input               bytes that the inputs of the task's stages may have
--   unable?                  this daemon cannot run the node
--   full?                    Redis is nearly full
--   key?, key_body?          hashes of an idempotency key and of the request that it stands for
--   video?, processing?      the video whose pipeline submits the stage, and its processing
--   needs?                   the stages that a run is known to take from or to follow, as a JSON array
--   keep_runs                how many earlier runs of the stage are kept
-- Answers one of these; after all but the first three nothing was written:
--   {'hit', seq, input_changed, token, gen, parts}   the finished stage answers with the result of this token; with
--                                       generation and parts of the summary `hit` answers the next request
--   {'join', state, run, seq}           a run is in flight
--   {'run', reason, run, seq}           a run was queued
--   {'verify', token, artifacts}        a hit, if the daemon finds its files complete
--   {'foreign', key, sha, ttl, json}    another worker wrote this stage
--   {'refuse', input_changed}           the result came from other input, and the node's policy refuses that
--   {'no_source', groups}               a run would miss what only earlier stages can give; groups count from 0
--   {'inputs'}                          a run would start, if the daemon finds the files that the request names
--   {'inputs_missing'}                  a run would start without files that the request names
--   {'unable'}                          a run would start that this daemon cannot run
--   {'keyed', task}                     the request was sent before with this idempotency key, under that task
--   {'key_reused'}                      another request was sent with this idempotency key
--   {'superseded'}                      the processing is no longer the video's
--   {'full'}                            the request would fill a nearly full Redis further
--   {'callbacks'}                       as many callbacks wait for the run as may
--   {'task_full'}                       the inputs of the task's stages would be larger than they may
--   {'damaged', what}                   the record of the stage is damaged
--   {'known'}                           the pipeline has submitted this very run before

local task, node = args.task, args.name

-- Seconds for which an idempotency key stands for its first request.
local KEY_TTL = 86400

-- Answers the reply to a request that was sent before with its idempotency key, or whose key belongs to another request.
local function check_key()
  local known = call('GET', idempotency_key(args.key))
  local body, keyed_task = string.match(known or '', '^(%S+) (%S+)$')
  if body and body ~= args.key_body then return { 'key_reused' } end
  if keyed_task and keyed_task ~= task then return { 'keyed', keyed_task } end
end

-- Whether the processing has submitted this very run before.
local function is_duplicate_run(record)
  return record.run == args.run or record.res_run == args.run
    or string.find(record.last_attempt or '', args.run, 1, true)
end

local repeated = args.key and check_key()
if repeated then return repeated end
if args.video and call('HGET', video_key(args.video), 'active') ~= args.processing then return { 'superseded' } end
local record = load_record(task, node)
if args.video and record and is_duplicate_run(record) then return { 'known' } end
if record and record.damage then return { 'damaged', record.damage } end
local is_untouched = not record and is_untouched_stage(task, node)
local reason, answer
if is_untouched then
  reason = args.ignore and 'lost' or 'absent'
else
  reason, answer = decide_reuse(task, node, record)
end
if answer then return answer end
local is_joined = not reason and is_in_flight(record.state)
local refusal = reason and has_conditions() and check_run(task, node)
if refusal then return refusal end
if is_joined and args.url and is_surplus_callback(task, node, record) then return { 'callbacks' } end
if args.full and (reason or args.url) then return { 'full' } end

-- From here on the script writes. A request that was refused has not used its key.
if args.key then call('SET', idempotency_key(args.key), args.key_body .. ' ' .. task, 'NX', 'EX', KEY_TTL) end
if is_joined then return join_run(task, node, record) end
if not reason then return reuse_result(task, node, record) end
return start_run(task, node, record, reason, is_untouched)
