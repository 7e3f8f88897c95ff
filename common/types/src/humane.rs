//! Durations and sizes as people read them: `1 day`, `1 hour 30 minutes`, `20 GiB`.

use std::time::Duration;

use humansize::{BINARY, SizeFormatter};
use jiff::{
    SignedDuration, SpanRound, Unit,
    fmt::friendly::{Designator, Spacing, SpanPrinter},
};

const PRINTER: SpanPrinter = SpanPrinter::new()
    .designator(Designator::Verbose)
    .spacing(Spacing::BetweenUnitsAndDesignators);

/// Returns the duration in words, `1 day 2 hours`; `0 seconds` where there is none.
pub fn duration(duration: Duration) -> String {
    let in_days = SpanRound::new().largest(Unit::Day).days_are_24_hours();
    let span = SignedDuration::try_from(duration)
        .ok()
        .and_then(|duration| jiff::Span::try_from(duration).ok())
        .and_then(|span| span.round(in_days).ok());
    match span {
        Some(span) => PRINTER.span_to_string(&span),
        // Longer than there are years.
        None => format!("{} seconds", duration.as_secs()),
    }
}

/// Returns the size in the largest unit that fits, `812 B`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    SizeFormatter::new(bytes, BINARY).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_for_people() {
        for (milliseconds, words) in [
            (0, "0 seconds"),
            (200, "200 milliseconds"),
            (1000, "1 second"),
            (1500, "1 second 500 milliseconds"),
            (7000, "7 seconds"),
            (90_000, "1 minute 30 seconds"),
            (1_800_000, "30 minutes"),
            (86_400_000, "1 day"),
            (93_600_000, "1 day 2 hours"),
            (864_000_000, "10 days"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), words);
        }
        assert_eq!(duration(Duration::from_secs(u64::MAX)), format!("{} seconds", u64::MAX));
        for (count, words) in [
            (0, "0 B"),
            (812, "812 B"),
            (1536, "1.50 KiB"),
            (2_000_000, "1.91 MiB"),
            (20 << 30, "20 GiB"),
        ] {
            assert_eq!(bytes(count), words);
        }
    }
}
