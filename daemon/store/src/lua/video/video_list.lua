-- Lists one page of videos, newest first.
-- Arguments: limit, before_score?, before_id?.
-- Answers {next cursor or '', facts, processing or '', ...}.

local limit = tonumber(args.limit)
local out = { '' }
local max = args.before_score or '+inf'
local skipping = args.before_id
local offset, last_score, last_id = 0, nil, nil
while (#out - 1) / 2 < limit do
  local page = call('ZREVRANGEBYSCORE', VIDEOS, max, '-inf', 'WITHSCORES', 'LIMIT', offset, 100)
  if #page == 0 then return out end
  offset = offset + #page / 2
  for position = 1, #page, 2 do
    -- Members of equal score come in descending order of their names.
    if not (skipping and page[position + 1] == args.before_score and page[position] >= args.before_id) then
      skipping = nil
      local video = call('HMGET', video_key(page[position]), 'facts', 'processing')
      if video[1] then
        out[#out + 1] = video[1]
        out[#out + 1] = video[2] or ''
      end
      last_score, last_id = page[position + 1], page[position]
      if (#out - 1) / 2 >= limit then break end
    end
  end
end
if last_id then out[1] = last_score .. ':' .. last_id end
return out
