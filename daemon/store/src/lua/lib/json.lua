-- Times and numbers as JSON.

local function iso(ms)
  ms = tonumber(ms)
  if not ms then return 'null' end
  local s = math.floor(ms / 1000)
  local days = math.floor(s / 86400)
  local rest = s - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"', year, month, day, math.floor(rest / 3600),
    math.floor(rest / 60) % 60, rest % 60, ms - s * 1000)
end

local function seconds(ms) return string.format('%.3f', (tonumber(ms) or 0) / 1000) end

-- Only for text of a harmless alphabet: states, ids, node names, queue names, reasons.
local function quoted(text) return text and ('"' .. text .. '"') or 'null' end
