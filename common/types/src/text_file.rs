//! Texts of files that people write, on any system.

/// Returns the text without the byte order mark, which editors of Windows put before it. The ends of its lines, `\r\n`
/// there, are left to `lines` and `trim`.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
