-- What somebody else wrote for one stage, if anything that is news. Arguments: task, name, ignore?.
-- Answers {key, sha, ttl, json} or nothing.

return foreign_stage(A.task, A.name, load(A.task, A.name)) or false
