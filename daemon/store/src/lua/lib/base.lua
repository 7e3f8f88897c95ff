-- What every script may use. The files of this folder are a library: a script is linked with the definitions that it
-- uses, and with what these use (`scripts/link.rs`), so that no call pays for more.
--
-- The comment of a helper says what it does, the keys that it reads and writes (none where it names none; what they
-- hold is in docs/architecture.md), and the arguments of the call that it needs beside its parameters. The parameters
-- have the same names everywhere: `task` and `node` are ids, `record` is a stage's record as a table, `fields` are
-- fields of a hash.
--
-- A script checks everything before its first write, because an error in the middle is not rolled back, and that write
-- is one that a full Redis refuses, because after another it would accept all of them. JSON is put together from
-- fragments that the daemon supplied, never re-encoded.

-- The arguments of the call by name; the daemon sends pairs of name and value. Lists among them are JSON arrays.
local args = {}
for position = 1, #ARGV, 2 do args[ARGV[position]] = ARGV[position + 1] end

-- Runs a command. An error of it ends the script.
local call = redis.call

-- Writes a number without a fraction or an exponent, which Lua's own spelling of a time in milliseconds has.
local function format_integer(number) return string.format('%.0f', number) end

-- Values that one command takes: `unpack` takes some thousands at most. The number is even, so that pairs stay
-- together.
local VALUES_PER_CALL = 1000

-- Runs a command for `key` with any number of values, in as many calls as that takes.
-- Writes: `key`.
local function call_in_chunks(command, key, values)
  for from = 1, #values, VALUES_PER_CALL do
    call(command, key, unpack(values, from, math.min(from + VALUES_PER_CALL - 1, #values)))
  end
end

-- Iterates over the items of `list`, a JSON array.
local function iterate_list(list) return ipairs(cjson.decode(list)) end

-- The time at which the script began, in milliseconds since 1970: the server's, or that of a simulation, which gives it
-- as `now`.
local NOW = tonumber(args.now)
if not NOW then
  local clock = call('TIME')
  NOW = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
end

-- The same as text, as it is written.
local NOW_DIGITS = format_integer(NOW)
