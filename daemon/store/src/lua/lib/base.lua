-- What every script may use. The files of this folder are a library: a script is linked with those definitions that it
-- uses, and with what these use (`scripts/link.rs`), so that no call pays for more.
--
-- Arguments come as pairs (name, value) and are read from `A`; lists among them are JSON arrays. Each script checks
-- everything before its first write, because an error in the middle is not rolled back, and that write is one which a full
-- Redis refuses, because after another it would take them all. JSON is put together from fragments the
-- daemon supplied, never re-encoded. Numbers are written with %.0f: Lua's own spelling of a time in
-- milliseconds has an exponent.

local A = {}
for i = 1, #ARGV, 2 do A[ARGV[i]] = ARGV[i + 1] end

local call = redis.call
local function int(n) return string.format('%.0f', n) end

-- Calls a command for a key with any number of values: `unpack` takes some thousands at a time. Pairs stay together.
local CHUNK = 1000

local function call_with_all(command, key, values)
  for from = 1, #values, CHUNK do
    call(command, key, unpack(values, from, math.min(from + CHUNK - 1, #values)))
  end
end

-- The items of an argument that is a list.
local function each(list) return ipairs(cjson.decode(list)) end

local clock = call('TIME')
local NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
