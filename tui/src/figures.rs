//! Writes durations, times, ratios, progress and JSON.

use onceover_types::Timestamp;

/// Writes JSON over several lines; `None` where the text is not JSON.
pub fn format_json(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

/// Writes a duration for a column: `0.4 s`, `12 s`, `04:12` or `1:02:03`.
pub fn format_short(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    format_ticking(seconds)
}

/// Writes a duration in whole seconds, since it grows or is estimated: `4 s`, `12 s`, `04:12` or `1:02:03`.
pub fn format_ticking(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    if seconds < 60.0 {
        return format!("{} s", seconds as u64);
    }
    format_offset(seconds)
}

/// Writes how far into something a time is: `00:03`, `04:12` or `1:02:03`.
pub fn format_offset(seconds: f64) -> String {
    let whole = if seconds.is_finite() {
        seconds.max(0.0) as u64
    } else {
        0
    };
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// Writes a duration as `0.4 s`, `12 s`, `3 m 20 s`, `6 h 12 m` or `4 d 2 h`.
pub fn format_long(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} m {} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {} m", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

/// Writes a duration in whole seconds: `4 s`, `3 m 20 s`.
pub fn format_whole(seconds: f64) -> String {
    if (0.0..10.0).contains(&seconds) {
        format!("{} s", seconds as u64)
    } else {
        format_long(seconds.floor())
    }
}

/// Writes how long ago something was: `12 s ago`, `2 min ago`, `3 h ago`, `4 d ago`.
pub fn format_ago(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{whole} s ago"),
        60..3600 => format!("{} min ago", whole / 60),
        3600..86400 => format!("{} h ago", whole / 3600),
        _ => format!("{} d ago", whole / 86400),
    }
}

/// Writes the time of day, with the date if that is another day than `now`'s.
pub fn format_time(time: Timestamp, now: Timestamp, tz: &jiff::tz::TimeZone) -> String {
    let at = |time: Timestamp| {
        jiff::Timestamp::from_millisecond(time.as_millis())
            .unwrap_or_default()
            .to_zoned(tz.clone())
    };
    let (time, now) = (at(time), at(now));
    let format = if time.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    time.strftime(format).to_string()
}

/// Writes the time of day: `12:05:58`.
pub fn format_clock(time: Timestamp, tz: &jiff::tz::TimeZone) -> String {
    let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or_default();
    time.to_zoned(tz.clone()).strftime("%H:%M:%S").to_string()
}

/// Rounds progress down to what is shown: 0 to 100, and 100 only at the end.
pub fn round_percent(progress: f64) -> u8 {
    if progress.is_nan() {
        0
    } else {
        progress.clamp(0.0, 100.0).floor() as u8
    }
}

/// Makes a bar of `columns` cells, with eighths of a cell.
pub fn format_bar(progress: f64, columns: u16) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let columns = usize::from(columns);
    let share = if progress.is_nan() {
        0.0
    } else {
        progress.clamp(0.0, 100.0) / 100.0
    };
    let eighths = (share * columns as f64 * 8.0).floor() as usize;
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS[eighths % 8]);
    let used = eighths / 8 + usize::from(!eighths.is_multiple_of(8));
    bar.push_str(&"·".repeat(columns.saturating_sub(used)));
    bar
}

/// Writes a size as `812 B` or `12.4 MB`.
pub fn format_bytes(bytes: u64) -> String {
    let mut figure = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if figure < 1000.0 {
            return match unit {
                "B" => format!("{bytes} B"),
                _ => format!("{figure:.1} {unit}"),
            };
        }
        figure /= 1000.0;
    }
    format!("{figure:.1} TB")
}

/// Writes a position as `1st`, `2nd`, `3rd` or `11th`.
pub fn format_ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Counts things: `1 task`, `2 tasks`.
pub fn count_noun(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(
            [
                format_short(3.9),
                format_short(252.0),
                format_short(3723.0),
                format_short(-1.0)
            ],
            ["3.9 s", "04:12", "1:02:03", "0.0 s"]
        );
        assert_eq!(
            [format_short(0.04), format_short(9.97), format_short(59.9)],
            ["0.0 s", "9 s", "59 s"]
        );
        assert_eq!([format_ticking(3.9), format_ticking(61.0)], ["3 s", "01:01"]);
        assert_eq!([format_offset(3.9), format_offset(3723.0)], ["00:03", "1:02:03"]);
        assert_eq!(
            [
                format_long(0.44),
                format_long(12.2),
                format_long(200.0),
                format_long(22_320.0)
            ],
            ["0.4 s", "12 s", "3 m 20 s", "6 h 12 m"]
        );
        assert_eq!(
            [format_bar(0.0, 4), format_bar(62.0, 8), format_bar(100.0, 4)],
            ["····", "████▉···", "████"]
        );
        assert_eq!([format_bytes(812), format_bytes(12_400_000)], ["812 B", "12.4 MB"]);
        assert_eq!(
            [
                format_ago(12.4),
                format_ago(125.0),
                format_ago(7_300.0),
                format_ago(400_000.0)
            ],
            ["12 s ago", "2 min ago", "2 h ago", "4 d ago"]
        );
        assert_eq!(round_percent(99.9), 99);
        assert_eq!(
            [format_ordinal(1), format_ordinal(12), format_ordinal(23)],
            ["1st", "12th", "23rd"]
        );
    }
}
