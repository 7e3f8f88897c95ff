-- Takes runs of a queue, as slots are free. A call that is repeated because its answer was lost answers what was taken
-- then.
-- Arguments: queue, slots, most, owner, lease_ms, running (what the owner runs of this queue: members of slots_key, as a
-- JSON array).
-- Answers {{{task, name, {field, value, ...}}, ...}, others, seq}: the runs with what their owner needs of the records,
-- whether other runs wait, and the number of the last event.

return claim_runs(tonumber(args.most))
