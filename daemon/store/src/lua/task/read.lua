-- Reads one task in full.
-- Arguments: task, names.
-- Answers {view, last sequence number}.

return { read_task_view(args.task), tonumber(call('GET', EVENT_SEQUENCE) or 0) }
