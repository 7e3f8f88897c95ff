//! The files of a stage's result, and what the one at the cursor says: a picture, cues or a text.

use std::{collections::BTreeSet, sync::Arc};

use onceover_types::{NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::CueList;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list::List;

/// Files of a result that are listed.
pub const MOST_FILES: usize = 2_000;
/// Folders in which they are searched.
const MOST_FOLDERS: usize = 8;
/// Facts of the output that are shown beside sound or a video.
const MOST_FACTS: usize = 40;

/// What can be shown of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    Picture,
    /// Subtitles.
    Cues,
    /// A text; JSON that is a transcript is shown as cues.
    Text,
    /// Sound or a video, which is not decoded.
    Media,
    Other,
}

impl FileKind {
    /// Reads the kind from the end of a file's name.
    pub fn of_name(name: &str) -> Self {
        let end = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
        match end.as_deref().unwrap_or_default() {
            "jpg" | "jpeg" | "png" | "webp" | "bmp" => Self::Picture,
            "srt" | "vtt" | "ass" | "ssa" | "ttml" | "lrc" => Self::Cues,
            "txt" | "json" | "jsonl" | "csv" | "tsv" | "md" | "log" | "xml" | "toml" | "yaml" | "yml" => Self::Text,
            "mp4" | "mkv" | "mov" | "webm" | "avi" | "ts" | "mp3" | "wav" | "flac" | "m4a" | "aac" | "ogg" | "opus" => {
                Self::Media
            }
            _ => Self::Other,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Cues => "subtitles",
            Self::Text => "text",
            Self::Media => "media",
            Self::Other => "file",
        }
    }
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// The path below the run's folder.
    pub name: String,
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// The path on the daemon's machine.
    pub path: String,
    /// The path below `share/workflows`, by which it is downloaded.
    pub file_path: String,
    pub content_type: String,
    /// A URL of the daemon that needs no token.
    pub download_url: String,
    /// A URL of the object store, where the file is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_url: Option<String>,
}

/// The files that the output of a stage names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFiles {
    pub files: Vec<ResultFile>,
    /// Whether there are no others.
    pub complete: bool,
    /// What else the output says: names and values.
    pub facts: Vec<(String, String)>,
    /// Files that are on the machine of a worker, as far as the result says: the daemon has not looked at them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_worker: Vec<String>,
}

/// The paths of a task's files that an output names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NamedPaths {
    /// Files and folders, by their path below `share/workflows`.
    keys: BTreeSet<String>,
}

impl NamedPaths {
    /// Collects the paths below the folder of a task.
    pub fn collect(output: &Value, task_folder: &str) -> Self {
        let root = share_of(task_folder);
        let mut keys = BTreeSet::new();
        visit_texts(output, &mut |text| {
            let is_below = text.strip_prefix(task_folder).is_some_and(|rest| rest.starts_with('/'));
            if let Some(key) = text.strip_prefix(root).filter(|_| is_below) {
                keys.insert(key.trim_matches('/').to_owned());
            }
        });
        Self { keys }
    }

    /// Returns the folders in which the files are: of a run, or the one that the path is in.
    pub fn list_folders(&self) -> BTreeSet<String> {
        self.keys
            .iter()
            .map(|key| folder_of(key))
            .take(MOST_FILES)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .take(MOST_FOLDERS)
            .collect()
    }

    /// Whether a file is one of them, or in one of these folders. The log of a run is none of its result.
    pub fn has(&self, key: &str) -> bool {
        let folder = folder_of(key);
        let is_log = key
            .strip_prefix(&folder)
            .is_some_and(|rest| rest.starts_with("/run.log"));
        let mut upward = Some(key);
        let mut is_named = false;
        while let Some(path) = upward.filter(|_| !is_named) {
            is_named = self.keys.contains(path);
            upward = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        is_named && !is_log
    }
}

/// Goes through the texts of a value, also those in its lists and fields.
pub fn visit_texts<'a>(value: &'a Value, visit: &mut impl FnMut(&'a str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| visit_texts(item, visit)),
        Value::Object(fields) => fields.values().for_each(|item| visit_texts(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the folder of all tasks, from that of one.
pub fn share_of(task_folder: &str) -> &str {
    task_folder
        .trim_end_matches('/')
        .rsplit_once('/')
        .map_or("", |(root, _)| root)
}

/// Returns the folder of the run that left a file: `t1/runs/r1` of `t1/runs/r1/frames/1.jpg`; of other files the folder
/// that they are in.
pub fn folder_of(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        [task, "runs", run, ..] => format!("{task}/runs/{run}"),
        [] | [_] => key.to_owned(),
        [before @ .., _] => before.join("/"),
    }
}

/// Lists what an output says beside paths, in the order of its fields.
pub fn list_facts(output: &Value) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    for (name, value) in output.as_object().into_iter().flatten() {
        let text = match value {
            Value::String(text) if text.starts_with('/') => continue,
            Value::String(text) => text.chars().take(200).collect(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is_so) => is_so.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        facts.push((name.clone(), text));
    }
    facts.truncate(MOST_FACTS);
    facts
}

/// A picture, scaled to what half blocks show of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PicturePreview {
    /// The request that read it: what the driver has encoded for the terminal is known by it.
    pub id: u64,
    /// Pixels of the file.
    pub width: u32,
    pub height: u32,
    pub format: String,
    /// The columns and rows that it was scaled for.
    pub room: (u16, u16),
    /// Columns of the pixels below.
    pub columns: u16,
    /// Red, green and blue, row after row; a cell has two of these rows.
    pub pixels: Vec<[u8; 3]>,
}

impl PicturePreview {
    /// Returns a pixel; `None` outside of the picture.
    pub fn pixel(&self, x: u16, y: u16) -> Option<[u8; 3]> {
        let is_inside = x < self.columns;
        let index = usize::from(y) * usize::from(self.columns) + usize::from(x);
        self.pixels.get(index).filter(|_| is_inside).copied()
    }

    /// Counts the cells that it is high.
    pub fn rows(&self) -> u16 {
        let pixel_rows = self.pixels.len() / usize::from(self.columns.max(1));
        pixel_rows.div_ceil(2) as u16
    }
}

/// The beginning of a text, by lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextPreview {
    pub lines: Vec<String>,
    /// Bytes that were read.
    pub read: u64,
    /// Whether the file goes on.
    pub is_cut: bool,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileContent {
    Picture(PicturePreview),
    Cues(#[serde(with = "shared_cues")] Arc<CueList>),
    Text(TextPreview),
    /// It is not read.
    Unread,
}

impl FileContent {
    /// Counts what it is scrolled by: cues or lines.
    pub fn count_units(&self) -> usize {
        match self {
            Self::Cues(list) => list.cues.len(),
            Self::Text(text) => text.lines.len(),
            Self::Picture(_) | Self::Unread => 0,
        }
    }
}

/// Writes shared cues as what they are.
mod shared_cues {
    use std::sync::Arc;

    use onceover_wire::CueList;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(cues: &Arc<CueList>, serializer: S) -> Result<S::Ok, S::Error> {
        (**cues).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<CueList>, D::Error> {
        CueList::deserialize(deserializer).map(Arc::new)
    }
}

/// A file that was read, or why it could not be.
#[derive(Debug)]
pub struct LoadedFile {
    pub file_path: String,
    pub content: Result<FileContent, String>,
}

/// What the page is to show: a file, and for a picture the room that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewAim {
    pub file_path: String,
    pub room: (u16, u16),
}

/// What the page knows.
#[derive(Debug, Default)]
pub struct Preview {
    pub stage: Option<(Arc<TaskId>, Arc<NodeName>)>,
    pub result: ResultFiles,
    /// The files by their path below `share/workflows`.
    pub list: List<String>,
    /// The newest request for the files; answers to others are dropped.
    pub request: Option<u64>,
    /// Whether they were read at least once.
    pub read: bool,
    pub failed: Option<String>,
    pub aim: Option<PreviewAim>,
    /// What is aimed at has to be read again.
    pub is_outdated: bool,
    /// What the stage was when its files were read: a change reads them again.
    pub seen: Option<(StageState, Option<RunId>)>,
    /// When what is aimed at is read.
    pub fetch_at: Option<Timestamp>,
    /// The newest request for a file.
    pub file_request: Option<u64>,
    pub shown: Option<LoadedFile>,
    /// Cues or lines that are scrolled from the top.
    pub scroll: usize,
    /// The file has the whole page.
    pub is_whole: bool,
}

impl Preview {
    /// Shows the files that were read.
    pub fn set_files(&mut self, result: ResultFiles) {
        self.list
            .set(result.files.iter().map(|file| file.file_path.clone()).collect());
        self.result = result;
        self.read = true;
        self.failed = None;
        // The run may have been replaced.
        self.is_outdated = true;
    }

    pub fn get(&self, file_path: &str) -> Option<&ResultFile> {
        self.result.files.iter().find(|file| file.file_path == file_path)
    }

    pub fn at_cursor(&self) -> Option<&ResultFile> {
        self.get(self.list.cursor()?)
    }

    /// Returns what is known of the file at the cursor; `None` before it is read.
    pub fn content(&self) -> Option<&Result<FileContent, String>> {
        let file_path = self.list.cursor()?;
        let shown = self.shown.as_ref().filter(|shown| shown.file_path == *file_path);
        shown.map(|shown| &shown.content)
    }

    /// Returns the picture at the cursor.
    pub fn picture(&self) -> Option<&PicturePreview> {
        match self.content()? {
            Ok(FileContent::Picture(picture)) => Some(picture),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_files_that_the_output_names_are_of_the_result() {
        let folder = "/data/share/workflows/t1";
        let output = json!({
            "audio_path": "/data/share/workflows/t1/runs/r1/a.wav",
            "more": [{"frames": "/data/share/workflows/t1/runs/r1/frames/"}],
            "source": "/media/film.mp4", "other": "/data/share/workflows/t10/x", "duration": 3.5, "name": "film"
        });
        let named = NamedPaths::collect(&output, folder);
        assert_eq!(named.list_folders(), BTreeSet::from(["t1/runs/r1".to_owned()]));
        for (key, expected) in [
            ("t1/runs/r1/a.wav", true),
            ("t1/runs/r1/frames/1.jpg", true),
            ("t1/runs/r1/frames/deep/1.jpg", true),
            ("t1/runs/r1/scratch.bin", false),
            ("t1/runs/r2/a.wav", false),
            ("t10/x", false),
        ] {
            assert_eq!(named.has(key), expected, "{key}");
        }
        let whole = NamedPaths::collect(&json!("/data/share/workflows/t1/runs/r1"), folder);
        assert!(whole.has("t1/runs/r1/a.wav") && !whole.has("t1/runs/r1/run.log"));
        let facts = [
            ("duration".to_owned(), "3.5".to_owned()),
            ("name".to_owned(), "film".to_owned()),
        ];
        assert_eq!(list_facts(&output), facts);
    }

    #[test]
    fn a_name_tells_what_can_be_shown_of_a_file() {
        for (name, kind) in [
            ("frames/0001.JPG", FileKind::Picture),
            ("자막.srt", FileKind::Cues),
            ("report.json", FileKind::Text),
            ("a.wav", FileKind::Media),
            ("model.bin", FileKind::Other),
            ("README", FileKind::Other),
        ] {
            assert_eq!(FileKind::of_name(name), kind, "{name}");
        }
    }
}
