-- One task in full. Arguments: task, names. Answers the view and the last sequence number.

return { read_view(A.task), tonumber(call('GET', SEQ) or 0) }
