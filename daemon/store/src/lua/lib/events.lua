-- Events: numbered, kept in a stream, published.

-- `pipeline`: for events about a video's pipeline, how far it is, as JSON.
local function emit(t, n, r, kind, pipeline)
  if n and r and not in_flight(r.state) then r = shown(r, noted(t, n)) end
  local seq = call('INCR', SEQ)
  local json = '{"v":1,"seq":' .. int(seq) .. ',"ts":' .. iso(NOW) .. ',"task_id":"' .. t .. '"'
  if n then json = json .. ',"task_name":"' .. n .. '"' end
  json = json .. ',"kind":"' .. kind .. '"'
  if r then json = json .. ',"stage":' .. summary(r) end
  if pipeline then json = json .. ',"pipeline":' .. pipeline end
  json = json .. '}'
  call('XADD', EVENTS, 'MAXLEN', '~', A.keep_events, int(seq) .. '-0', 'e', json)
  call('PUBLISH', 'onceover:' .. A.db .. ':events', json)
  return seq
end
