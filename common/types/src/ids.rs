//! Identifiers that parse once at the edge: task ids, node names, run ids. What parsed is safe as a
//! key part, a folder name and a URL segment.

use std::{cell::Cell, fmt};

use serde::{Deserialize, Deserializer, Serialize};

/// Words that cannot be task ids: they are paths of the API below `/v1/tasks/`, or the key prefix of Onceover.
pub const RESERVED_TASK_IDS: [&str; 5] = ["health", "supported-tasks", "batch", "events", "onceover"];

/// Why a text is not an identifier; the sentence is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub String);

thread_local! {
    /// The number of the next id of this thread, where a simulation counts them.
    static NEXT: Cell<Option<u128>> = const { Cell::new(None) };
}

/// Lets ids that this thread generates count from `first`, so that a simulation can be replayed.
pub fn count_ids_from(first: u128) {
    NEXT.set(Some(first));
}

fn new_uuid() -> uuid::Uuid {
    match NEXT.get() {
        Some(number) => {
            NEXT.set(Some(number + 1));
            uuid::Uuid::from_u128(number)
        }
        None => uuid::Uuid::now_v7(),
    }
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, schema($($schema:tt)*)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = String, $($schema)*)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type! {
    /// One task: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`, no `..`, not a reserved word.
    TaskId, schema(pattern = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$", max_length = 128, example = "lecture-07")
}
id_type! {
    /// One registered video: as a task id, at most 122 characters, so that its task is `video-<video_id>`.
    VideoId, schema(pattern = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$", max_length = 122, example = "lecture-07")
}
id_type! {
    /// One node, `<service>.<method>`: both parts are `[A-Za-z0-9_-]+`, with exactly one dot. Whether there is
    /// such a node, only the catalog knows.
    NodeName, schema(pattern = r"^[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}$", example = "ffmpeg.extract_audio")
}
id_type! {
    /// One run of a stage (a UUID, version 7, so that ids sort by time).
    RunId, schema(format = "uuid")
}

impl TaskId {
    /// Reads an id. The error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let invalid = |why: &str| {
            Err(InvalidId(format!(
                "{why}; a task id is 1 to 128 of A-Z a-z 0-9 . _ -, starts with a letter or digit and has no '..'"
            )))
        };
        if text.is_empty() {
            return invalid("it is empty");
        }
        if text.len() > 128 {
            return invalid("it is longer than 128 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return invalid("it does not start with a letter or digit");
        }
        if !text.chars().all(is_id_char) {
            return invalid("it has a character that is not allowed");
        }
        if text.contains("..") {
            return invalid("it has '..'");
        }
        if RESERVED_TASK_IDS.contains(&text) {
            return invalid("it is a reserved word");
        }
        Ok(Self(text.to_owned()))
    }

    /// Makes `task-<uuid>`, for a request that names no task.
    pub fn generate() -> Self {
        Self(format!("task-{}", new_uuid()))
    }
}

/// The beginning of the ids of videos' tasks.
const OF_VIDEO: &str = "video-";

impl VideoId {
    /// Reads an id. The error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let longest = 128 - OF_VIDEO.len();
        let invalid = |why: &str| {
            Err(InvalidId(format!(
                "{why}; a video id is 1 to {longest} of A-Z a-z 0-9 . _ -, starts with a letter or digit and has no '..'"
            )))
        };
        match text {
            "" => invalid("it is empty"),
            _ if text.len() > longest => invalid("it is too long"),
            _ if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => {
                invalid("it does not start with a letter or digit")
            }
            _ if !text.chars().all(is_id_char) => invalid("it has a character that is not allowed"),
            _ if text.contains("..") => invalid("it has '..'"),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// Makes a UUID, for a video that is registered without an id.
    pub fn generate() -> Self {
        Self(new_uuid().to_string())
    }

    /// Returns the one task that the video is processed under.
    pub fn task(&self) -> TaskId {
        TaskId(format!("{OF_VIDEO}{self}"))
    }

    /// Returns the video that a task would belong to, by the task's id.
    pub fn of_task(task: &TaskId) -> Option<Self> {
        Self::parse(task.as_str().strip_prefix(OF_VIDEO)?).ok()
    }
}

impl NodeName {
    /// Reads an id. The error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let part_ok = |part: &str| {
            (1..=64).contains(&part.len())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        match text.split_once('.') {
            Some((service, method)) if part_ok(service) && part_ok(method) => Ok(Self(text.to_owned())),
            _ => Err(InvalidId(
                "a node name is '<service>.<method>' with exactly one dot".into(),
            )),
        }
    }

    /// Returns the part before the dot.
    pub fn service(&self) -> &str {
        self.0.split_once('.').map_or("", |(service, _)| service)
    }

    /// Returns the part after the dot.
    pub fn method(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, method)| method)
    }
}

impl RunId {
    /// Reads an id. The error is a sentence for people.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        match uuid::Uuid::try_parse(text) {
            Ok(id) => Ok(Self(id.hyphenated().to_string())),
            Err(_) => Err(InvalidId("a run id is a UUID".into())),
        }
    }

    /// Makes a new id.
    pub fn generate() -> Self {
        Self(new_uuid().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_that_would_leave_their_folder_or_key_are_refused() {
        for bad in [
            "",
            "..",
            "a..b",
            "../x",
            "a/b",
            "a:b",
            "*",
            "a b",
            ".a",
            "-a",
            "ä",
            "health",
            "a\0b",
            &"x".repeat(129),
        ] {
            assert!(TaskId::parse(bad).is_err(), "{bad:?} parsed");
        }
        for good in ["t1", "lecture-07", "a.b_c-d", "0", &"x".repeat(128)] {
            assert!(TaskId::parse(good).is_ok(), "{good:?} refused");
        }
    }

    #[test]
    fn a_videos_task_is_a_task_and_leads_back_to_it() {
        for good in ["a", "lecture-07", &"x".repeat(122)] {
            let video = VideoId::parse(good).unwrap();
            let task = TaskId::parse(video.task().as_str()).unwrap();
            assert_eq!(VideoId::of_task(&task), Some(video));
        }
        for bad in ["", "..", "a/b", "-a", "a..b", "a b", &"x".repeat(123)] {
            assert!(VideoId::parse(bad).is_err(), "{bad:?} parsed");
        }
        assert_eq!(VideoId::of_task(&TaskId::parse("lecture-07").unwrap()), None);
    }

    #[test]
    fn node_names_have_exactly_one_dot() {
        for bad in ["", "ffmpeg", "ffmpeg.", ".x", "a.b.c", "a:b.c", "a.b/c", "a. b"] {
            assert!(NodeName::parse(bad).is_err(), "{bad:?} parsed");
        }
        let node = NodeName::parse("ffmpeg.extract_audio").unwrap();
        assert_eq!((node.service(), node.method()), ("ffmpeg", "extract_audio"));
    }
}
