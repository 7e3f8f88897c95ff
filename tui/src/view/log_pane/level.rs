//! How bad the lines of a log are, by the words that they begin with.

/// How bad a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Warning,
    Error,
}

/// Finds the level of a line: `[ERROR] ...`, `warning: ...`, `RuntimeError: ...`, `Traceback (most recent ...`.
pub fn find_level(text: &str) -> Option<LogLevel> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let start = text.trim_start_matches(['[', '(', '<', ' ']);
    let word = &start[..start.find(|c: char| !is_of_word(c)).unwrap_or(start.len())];
    // The class of an exception may be named with its module.
    let word = word.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if word.len() > 40 {
        return None;
    }
    let word = word.to_ascii_lowercase();
    match word.as_str() {
        "error" | "err" | "fatal" | "critical" | "panic" | "panicked" | "traceback" | "failed" => Some(LogLevel::Error),
        "warning" | "warn" => Some(LogLevel::Warning),
        word if word.ends_with("error") || word.ends_with("exception") => Some(LogLevel::Error),
        word if word.ends_with("warning") => Some(LogLevel::Warning),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_a_line_begins_with_is_its_level() {
        for (line, level) in [
            ("[ERROR] out of memory", Some(LogLevel::Error)),
            ("torch.cuda.OutOfMemoryError: CUDA out of memory", Some(LogLevel::Error)),
            ("Traceback (most recent call last):", Some(LogLevel::Error)),
            ("warning: 3 frames are missing", Some(LogLevel::Warning)),
            ("UserWarning: deprecated", Some(LogLevel::Warning)),
            ("no error so far", None),
            ("", None),
            ("오류", None),
        ] {
            assert_eq!(find_level(line), level, "{line}");
        }
    }
}
