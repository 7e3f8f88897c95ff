//! Fuzz target of ids.

use onceover_fuzz::fuzz;

use crate::{NodeName, RunId, TaskId, VideoId};

/// S4: an id that is accepted cannot name another task's keys or files.
#[test]
fn fuzz_ids() {
    fuzz(
        "ids",
        &["..", ":", "/", "video-", "node", ".", "|", "%2f", "\0", "ä"],
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let is_plain =
                |text: &str, more: &[char]| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c));
            if let Ok(id) = TaskId::parse(&text) {
                assert_eq!(id.as_str(), text);
                assert!(is_plain(&text, &['.', '_', '-']) && !text.contains("..") && text.len() <= 128);
                assert!(text.starts_with(|c: char| c.is_ascii_alphanumeric()));
            }
            if let Ok(id) = VideoId::parse(&text) {
                TaskId::parse(id.task().as_str()).expect("the task of a video has an id");
            }
            if let Ok(name) = NodeName::parse(&text) {
                assert!(is_plain(name.as_str(), &['.', '_', '-']) && name.as_str().matches('.').count() == 1);
            }
            if let Ok(run) = RunId::parse(&text) {
                assert_eq!(run.as_str().len(), 36);
            }
        },
    );
}
