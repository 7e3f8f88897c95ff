//! Writes warnings of results: the mark in a row, the sentences of a detail and of a printed tree.

use onceover_wire::ResultWarning;
use ratatui::{buffer::Buffer, layout::Position, style::Style};

use super::{
    block::Block,
    text::{cut, put, width},
};
use crate::{figures, theme::Theme};

/// Warnings of one result that a detail lists at most; the output has the rest.
const MOST_LISTED: usize = 20;

/// Makes the mark of results with warnings: `⚠2`, empty if there are none.
pub fn format_mark(count: u64) -> String {
    match count {
        0 => String::new(),
        1..=99 => format!("⚠{count}"),
        _ => "⚠+".into(),
    }
}

/// Joins a row's words and the mark of its results: `✔ done ⚠2`. Every row of a result is written with it or, where
/// there may be no room for everything, with `fit_mark`.
pub fn join_mark(words: &str, count: u64) -> String {
    match count {
        0 => words.to_owned(),
        _ => format!("{words} {}", format_mark(count)),
    }
}

/// Fits a row's words and the mark behind them into so many columns. It drops the number of warnings first, then the
/// end of the words, and keeps the mark.
pub fn fit_mark(words: &str, count: u64, room: u16) -> (String, String) {
    if count == 0 {
        return (words.to_owned(), String::new());
    }
    let has_room = |words: &str, mark: &str| width(words) + 1 + width(mark) <= room;
    let tight = words.replace(" %", "%");
    for (words, mark) in [
        (words, format_mark(count)),
        (words, "⚠".into()),
        (tight.as_str(), "⚠".into()),
    ] {
        if has_room(words, &mark) {
            return (words.to_owned(), mark);
        }
    }
    (cut(words, room.saturating_sub(2)), "⚠".into())
}

/// Draws a row's words and, in the columns that are left, the mark of its results.
pub fn put_beside(buffer: &mut Buffer, at: Position, room: u16, words: (&str, Style), count: u64, theme: Theme) {
    let (words, style) = words;
    let (words, mark) = fit_mark(words, count, room);
    let used = put(buffer, at.x, at.y, room, &words, style);
    let gap = u16::from(used > 0);
    let left = room.saturating_sub(used + gap);
    put(buffer, at.x + used + gap, at.y, left, &mark, theme.warn());
}

/// Counts warnings, and says whether another run could do better: `⚠ 2 warnings`.
pub fn count_warnings(count: u64, retryable: bool) -> String {
    let better = match retryable {
        true => "; running again could give a better result",
        false => "",
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    format!("⚠ {}{better}", figures::count_noun(count, "warning"))
}

/// Puts a warning into a sentence: `truncated_source: clip.mp4 ends early · expected_duration 10.0, got 4.97`.
pub fn describe_warning(warning: &ResultWarning) -> String {
    let numbers = match warning.measured() {
        none if none.is_empty() => none,
        numbers => format!(" · {numbers}"),
    };
    let again = match warning.retryable {
        true => "; running again may help",
        false => "",
    };
    format!("{}: {}{numbers}{again}", warning.code, warning.text)
}

/// Adds the warnings of a result to a detail. The list is `None` until it is read.
pub fn add_warnings(block: &mut Block, count: u64, retryable: bool, list: Option<&[ResultWarning]>, theme: Theme) {
    if count == 0 {
        return;
    }
    block.add_fact("warnings", &count_warnings(count, retryable), theme.warn());
    let list = list.unwrap_or_default();
    for warning in list.iter().take(MOST_LISTED) {
        block.add_fact("", &describe_warning(warning), theme.warn());
    }
    if list.len() > MOST_LISTED {
        let more = list.len() - MOST_LISTED;
        block.add_fact("", &format!("{more} more: see the output"), theme.faint());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_where_words_have_to_give_way() {
        let fitted = |words: &str, count: u64, room: u16| {
            let (words, mark) = fit_mark(words, count, room);
            let text = format!("{words} {mark}").trim().to_owned();
            assert!(count == 0 || width(&text) <= room.max(1), "{text} in {room}");
            text
        };
        for (words, count, room, shown) in [
            ("✔ done", 0, 4, "✔ done"),
            ("✔ done", 2, 12, "✔ done ⚠2"),
            ("✔ done", 200, 9, "✔ done ⚠+"),
            ("✔ done", 2, 8, "✔ done ⚠"),
            ("● run 43 %", 12, 12, "● run 43 % ⚠"),
            ("● run 100 %", 2, 12, "● run 100% ⚠"),
            ("⊘ cancelled", 2, 12, "⊘ cancell… ⚠"),
            ("✔ done", 2, 2, "⚠"),
            ("✔ done", 2, 1, "⚠"),
        ] {
            assert_eq!(fitted(words, count, room), shown, "{words} {count} {room}");
        }
        assert_eq!(join_mark("✔ done", 3), "✔ done ⚠3");
        assert_eq!(join_mark("✔ done", 0), "✔ done");
    }
}
