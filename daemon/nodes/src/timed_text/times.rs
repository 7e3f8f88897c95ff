//! Times as subtitle files write them.

/// Seconds that no clock of subtitles reaches: sums of such times have no value.
const LATEST: f64 = 3.6e9;

/// Whether a number of seconds can be a time in a file.
pub(super) fn is_shown(seconds: &f64) -> bool {
    seconds.abs() <= LATEST
}

/// Returns the seconds of a clock: `1:02:03,456`, `02:03.4`, `00:00:01:500`; hours may be above 99, and the fraction
/// may be missing. None for anything else, a negative time too.
pub(super) fn clock(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.is_ascii() {
        // Typed with a Chinese keyboard.
        let plain = text.replace('：', ":").replace(['，', '．'], ".");
        return plain.is_ascii().then(|| clock(&plain)).flatten();
    }
    let (whole, fraction) = match text.rsplit_once([',', '.']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => match text.rsplit_once(':') {
            // Four parts: the last are milliseconds.
            Some((whole, fraction)) if whole.matches(':').count() == 2 && fraction.len() == 3 => {
                (whole, Some(fraction))
            }
            _ => (text, None),
        },
    };
    let parts: Vec<_> = whole.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] => ("0", *minutes, *seconds),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let number = |digits: &str, most: usize| -> Option<u32> {
        let is_number = (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok()).flatten()
    };
    // Minutes without hours may be many.
    let minutes_digits = if parts.len() == 2 { 4 } else { 2 };
    let whole = f64::from(number(hours, 6)?) * 3600.0
        + f64::from(number(minutes, minutes_digits)?) * 60.0
        + f64::from(number(seconds, 2)?);
    let millis = match fraction {
        None => 0.0,
        Some(fraction) => {
            let digits = number(fraction, 9)?;
            f64::from(digits) / 10_f64.powi(fraction.len() as i32)
        }
    };
    Some(((whole + millis) * 1000.0).round() / 1000.0)
}

/// Returns the two times of `00:00:01,000 --> 00:00:02,500 ...`; what stands behind them is left.
pub(super) fn span(line: &str) -> Option<(f64, f64)> {
    let (start, rest) = line.split_once("-->")?;
    let end = rest.split_whitespace().next()?;
    Some((clock(start)?, clock(end)?))
}

/// Whether a line is meant to hold the times of a cue although they cannot be read.
pub(super) fn is_broken_span(line: &str) -> bool {
    let Some((start, rest)) = line.split_once("-->") else {
        return false;
    };
    let begins_like_a_time = |text: &str| {
        let text = text.trim_start().trim_start_matches(['-', '−']);
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && text[digits..].starts_with(':')
    };
    span(line).is_none() && (begins_like_a_time(start) || begins_like_a_time(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_player_reaches_is_none() {
        for (seconds, expected) in [
            (0.0, true),
            (-3.0, true),
            (3.5e9, true),
            (4e9, false),
            (1e308, false),
            (f64::INFINITY, false),
            (f64::NAN, false),
        ] {
            assert_eq!(is_shown(&seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn clocks_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("00:00:01,500", Some(1.5)),
            ("0:00:01.5", Some(1.5)),
            ("01:02:03", Some(3723.0)),
            ("02:03.040", Some(123.04)),
            ("123:00:00,001", Some(442_800.001)),
            ("00:00:01:500", Some(1.5)),
            ("00：00：01，5", Some(1.5)),
            (" 90:00 ", Some(5400.0)),
            ("00:00:0O,100", None),
            ("-00:00:01,500", None),
            ("1", None),
            ("00:00:", None),
            ("00:00:01,", None),
            ("00:001:02", None),
            ("9999999:00:00", None),
        ] {
            assert_eq!(clock(text), seconds, "{text}");
        }
    }

    #[test]
    fn a_line_of_times_is_known_also_when_it_is_broken() {
        assert_eq!(span("00:01.000 --> 00:02.500 align:start"), Some((1.0, 2.5)));
        assert_eq!(span("a --> b"), None);
        assert!(is_broken_span("-00:00:01,500 --> 00:00:00,500"));
        assert!(is_broken_span("00:00:01,000 -->"));
        assert!(is_broken_span("x --> 00:00:0O,100"));
        assert!(!is_broken_span("from a --> to b"));
        assert!(!is_broken_span("00:00:01,000 --> 00:00:02,000"));
    }
}
