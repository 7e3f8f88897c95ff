//! Spans of time as operators write them: `1m 30s`, `500ms`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

fn positive<E: Error>(span: jiff::SignedDuration) -> Result<Duration, E> {
    Duration::try_from(span).map_err(|_| E::custom("a duration must not be negative"))
}

/// Reads one span of time.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    positive(jiff::SignedDuration::deserialize(deserializer)?)
}

/// Reads a list of spans of time.
pub fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let spans = Vec::<jiff::SignedDuration>::deserialize(deserializer)?;
    spans.into_iter().map(positive).collect()
}
