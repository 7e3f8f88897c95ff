//! Points in time on the wire: RFC 3339, UTC, `Z`, milliseconds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MILLIS_PER_DAY: i64 = 86_400_000;
/// From 1970 on, a time before this one has a year of four digits: 9999-01-01.
const FIRST_UNUSUAL: i64 = 253_370_764_800_000;
/// Days from 0000-03-01, when the years begin here so that the leap day is their last, to 1970-01-01.
const DAYS_TO_EPOCH: u64 = 719_468;
/// Days in four hundred years, after which the calendar repeats.
const DAYS_PER_ERA: u64 = 146_097;

/// Milliseconds since the Unix epoch; `2026-11-22T03:20:26.123Z` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-22T03:20:26.123Z")]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a time of milliseconds since the Unix epoch.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the present time of this machine.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Returns the milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole days since the Unix epoch.
    pub fn day(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_DAY)
    }

    /// Returns the date, `YYYY-MM-DD`.
    pub fn date(self) -> String {
        let mut text = self.to_string();
        text.truncate("2026-11-22".len());
        text
    }

    /// Writes the time as text. Returns `None` for one that is left to the library: its year needs a sign, or is none.
    fn usual_text(self) -> Option<[u8; 24]> {
        if !(0..FIRST_UNUSUAL).contains(&self.0) {
            return None;
        }
        let (days, millis) = (
            self.day().unsigned_abs(),
            self.0.rem_euclid(MILLIS_PER_DAY).unsigned_abs(),
        );
        let (year, month, day) = civil_date(days);
        let seconds = millis / 1000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        write_digits(&mut text[0..4], year);
        write_digits(&mut text[5..7], month);
        write_digits(&mut text[8..10], day);
        write_digits(&mut text[11..13], seconds / 3600);
        write_digits(&mut text[14..16], seconds / 60 % 60);
        write_digits(&mut text[17..19], seconds % 60);
        write_digits(&mut text[20..23], millis % 1000);
        Some(text)
    }

    /// Returns the time that is this much later.
    pub fn plus(self, span: std::time::Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Returns the seconds from `earlier` to this, never negative.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).max(0) as f64 / 1000.0
    }
}

/// Returns year, month and day of a day since the Unix epoch, by the arithmetic of the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_EPOCH;
    let (era, of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (DAYS_PER_ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March is 0.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// Writes a number with as many digits as fit.
fn write_digits(to: &mut [u8], mut number: u64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.usual_text() {
            return f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?);
        }
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.usual_text() {
            Some(text) => {
                let text = std::str::from_utf8(&text).map_err(<S::Error as serde::ser::Error>::custom)?;
                serializer.serialize_str(text)
            }
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_utc_with_milliseconds() {
        let time = Timestamp::from_millis(1_795_317_626_007);
        assert_eq!(time.to_string(), "2026-11-22T03:20:26.007Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
    }

    #[test]
    fn a_usual_time_has_the_text_that_the_library_gives_it() {
        let library = |millis: i64| {
            let time = jiff::Timestamp::from_millisecond(millis).unwrap();
            time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
        };
        // Every day until 2370, at its first or last millisecond or at a time that changes with it.
        for day in 0..146_097 {
            let of_day = match day % 3 {
                0 => 0,
                1 => day * 591 % MILLIS_PER_DAY,
                _ => MILLIS_PER_DAY - 1,
            };
            let millis = day * MILLIS_PER_DAY + of_day;
            assert_eq!(Timestamp::from_millis(millis).to_string(), library(millis));
        }
        for millis in [-1, -86_400_001, FIRST_UNUSUAL - 1, FIRST_UNUSUAL, FIRST_UNUSUAL + 1] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string(), library(millis));
            assert_eq!(time.usual_text().is_some(), (0..FIRST_UNUSUAL).contains(&millis));
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{} ms", i64::MAX));
    }

    #[test]
    fn a_day_has_one_number_and_one_date_from_its_first_millisecond_to_its_last() {
        let first = Timestamp::from_millis(20_000 * MILLIS_PER_DAY);
        let last = Timestamp::from_millis(20_001 * MILLIS_PER_DAY - 1);
        for time in [first, last] {
            assert_eq!((time.day(), time.date().as_str()), (20_000, "2024-10-04"));
        }
        assert_eq!(Timestamp::from_millis(-1).day(), -1);
    }
}
