-- Answers a request with the result that stands, if that is all there is to do: the request has no callback, no
-- idempotency key and no pipeline, and its files were checked for this very result. Everything else is for `submit`.
-- Arguments:
--   task, name
--   mode, fp, in_files?      the reuse policy, and what the input is compared by
--   input_pub, callback      the request's input as JSON, with secrets hidden; `null`
--   verified                 token of the result whose files are complete
--   broken?, broken_how?, ignore?   as for `submit`
-- Answers {'hit', seq, input_changed, token} as `submit` does, or {'other'}, with nothing written.

local task, node = args.task, args.name
local record = load_record_fields(task, node, HIT_FIELDS)
if not record or record.damage or record.state ~= 'SUCCESS' then return { 'other' } end
-- The list of files is not loaded: `decide_reuse` would not ask for those of another result.
if build_result_token(record.res_run, record.res_attempt, record.res_ended) ~= args.verified then return { 'other' } end
local reason, answer = decide_reuse(task, node, record)
if reason or answer then return { 'other' } end
return reuse_result(task, node, record, {})
