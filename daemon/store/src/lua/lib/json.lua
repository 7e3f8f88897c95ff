-- Times, numbers and texts as JSON.

-- Times that were written before, by their digits: the public JSON and the event have the same ones.
local WRITTEN_TIMES = {}

-- Writes a time, milliseconds since 1970 in digits, as JSON text in ISO 8601; `null` for what is no number. The daemon
-- gives today as days since 1970 (`day`) and as YYYY-MM-DD (`date`): most times that scripts write are of today. For
-- another day the days are counted from the 1st of March of the year 0, in eras of 400 years, so that a leap day is the
-- last of its year.
local function format_time(digits)
  local written = WRITTEN_TIMES[digits]
  if written then return written end
  local milliseconds = tonumber(digits)
  if not milliseconds then return 'null' end
  local of_today = milliseconds - args.day * 86400000
  if of_today >= 0 and of_today < 86400000 then
    -- `%d` leaves fractions out.
    written = string.format('"%sT%02d:%02d:%02d.%03dZ"', args.date, of_today / 3600000, of_today % 3600000 / 60000,
      of_today % 60000 / 1000, of_today % 1000)
  else
    local whole_seconds = math.floor(milliseconds / 1000)
    local days = math.floor(whole_seconds / 86400)
    local second_of_day = whole_seconds - days * 86400
    local shifted_days = days + 719468
    local era = math.floor(shifted_days / 146097)
    local day_of_era = shifted_days - era * 146097
    local year_of_era = math.floor((day_of_era - math.floor(day_of_era / 1460) + math.floor(day_of_era / 36524)
      - math.floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era - (365 * year_of_era + math.floor(year_of_era / 4) - math.floor(year_of_era / 100))
    local shifted_month = math.floor((5 * day_of_year + 2) / 153)
    local day = day_of_year - math.floor((153 * shifted_month + 2) / 5) + 1
    local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
    local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
    written = string.format('"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ"', year, month, day, math.floor(second_of_day / 3600),
      math.floor(second_of_day / 60) % 60, second_of_day % 60, milliseconds - whole_seconds * 1000)
  end
  WRITTEN_TIMES[digits] = written
  return written
end

-- Writes a number of milliseconds as seconds.
local function format_seconds(milliseconds)
  return milliseconds and string.format('%.3f', (tonumber(milliseconds) or 0) / 1000) or '0.000'
end

-- Writes a text as JSON; `null` for nil. Only for text of a harmless alphabet: states, ids, names of nodes and queues,
-- reasons.
local function quote_text(text) return text and ('"' .. text .. '"') or 'null' end
