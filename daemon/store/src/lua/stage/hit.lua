-- Answers a request with a result that was reused before, if it stands and that is all there is to do: the request has
-- no callback, no idempotency key and no pipeline, and the files of the result were checked. Everything else is for
-- `submit`. Nothing is loaded that can be large or that is the same as at the hit before.
-- Arguments:
--   task, name
--   mode, fp, in_files?      the reuse policy, and what the input is compared by
--   input_pub, callback      the request's input as JSON, with secrets hidden; `null`
--   verified, generation     token of the result, and of runs of the stage, as `submit` answered them
--   before_revision, before_hits, before_saved, before_callback, after_callback
--                            parts of the summary, as `submit` answered them
--   broken?, broken_how?, ignore?   as for `submit`
-- Answers {'hit', seq, input_changed}, or {'other'} with nothing written.

local task, node = args.task, args.name

-- The fields of a record that change without a new run, and those that reuse is decided by.
local HIT_FIELDS = { 'state', 'gen', 'rev', 'hits', 'saved_ms', 'callback_status', 'run', 'projected', 'seen',
  'seen_older', 'fp', 'res_run', 'res_attempt', 'res_ended', 'res_duration_ms', 'res_reusable', 'res_retryable',
  'res_fp', 'res_in_files', 'res_in_sources' }

-- Whether the result is the one that was reused before, no run has begun since, and what will be written is right.
local function is_known(record)
  return record.state == 'SUCCESS' and (record.gen or '') == args.generation
    and build_result_token(record.res_run, record.res_attempt, record.res_ended) == args.verified
    and (not record.callback_status or string.find(record.callback_status, '^%w+$'))
end

local record = read_fields(task, node, HIT_FIELDS)
if not record or not is_known(record) then return { 'other' } end
-- Another worker has the stage in flight.
if call('HEXISTS', foreign_key(task), node) == 1 then return { 'other' } end
-- The list of files is not loaded, so `decide_reuse` does not ask for them.
local reason, answer = decide_reuse(task, node, record)
if reason or answer then return { 'other' } end
count_hit(task, node, record)
local summary = join_summary_parts(record, args.before_revision, args.before_hits, args.before_saved,
  args.before_callback, args.after_callback)
-- Without a callback that is to be sent no daemon acts upon it.
local wakes_daemons = record.callback_status == 'pending'
return { 'hit', publish_summary(task, node, summary, 'hit', nil, wakes_daemons), record.input_changed }
