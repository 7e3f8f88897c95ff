//! Points in time on the wire: RFC 3339, UTC, `Z`, milliseconds.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MILLIS_PER_DAY: i64 = 86_400_000;

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

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        serializer.collect_str(self)
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
    fn a_day_has_one_number_and_one_date_from_its_first_millisecond_to_its_last() {
        let first = Timestamp::from_millis(20_000 * MILLIS_PER_DAY);
        let last = Timestamp::from_millis(20_001 * MILLIS_PER_DAY - 1);
        for time in [first, last] {
            assert_eq!((time.day(), time.date().as_str()), (20_000, "2024-10-04"));
        }
        assert_eq!(Timestamp::from_millis(-1).day(), -1);
    }
}
