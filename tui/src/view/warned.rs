//! Warnings of results in words: the mark in a row, the sentences of a detail and of a printed tree.

use onceover_common::wire::ResultWarning;

use super::{block::Block, figures};
use crate::theme::Theme;

/// Warnings of one result that a detail lists; the output has the rest.
const MOST_LISTED: usize = 20;

/// `⚠2` for a row; empty where there are none.
pub fn mark(count: u64) -> String {
    match count {
        0 => String::new(),
        1..=99 => format!("⚠{count}"),
        _ => "⚠+".into(),
    }
}

/// `⚠ 2 warnings`, and whether another run could do better.
pub fn counted(count: u64, retryable: bool) -> String {
    let better = match retryable {
        true => "; running again could give a better result",
        false => "",
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    format!("⚠ {}{better}", figures::counted(count, "warning"))
}

/// `truncated_source: clip.mp4 ends early · expected_duration 10.0, got 4.97`.
pub fn sentence(warning: &ResultWarning) -> String {
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

/// What a result says of itself, in a detail. The list is None until it is read.
pub fn say(block: &mut Block, count: u64, retryable: bool, list: Option<&[ResultWarning]>, theme: Theme) {
    if count == 0 {
        return;
    }
    block.fact("warnings", &counted(count, retryable), theme.warn());
    let list = list.unwrap_or_default();
    for warning in list.iter().take(MOST_LISTED) {
        block.fact("", &sentence(warning), theme.warn());
    }
    if list.len() > MOST_LISTED {
        let more = list.len() - MOST_LISTED;
        block.fact("", &format!("{more} more: see the output"), theme.faint());
    }
}
