//! The files of a result: recorded when a run finishes, looked at again before the result is reused (R8).

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::disk::hash_of;
use onceover_limits::Limit;
use onceover_run::{log, paths};

/// Files of one result that are recorded one by one; a folder with more counts by its first ones.
pub(crate) const LIMIT: usize = 5000;

/// One recorded file or folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ArtifactEntry {
    /// On this machine, or where a worker has it; of an object its bucket and key.
    path: PathBuf,
    /// Of a file: bytes, and time of change in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<(u64, i64)>,
    /// Of a file, when asked for: BLAKE3 of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// It lies on the machine of a worker, and is not missing because it is not here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
    /// What the object store said of it, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<ObjectStamp>,
}

/// What an object of a result is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectStamp {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
}

/// What became of the files of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactCheck {
    Whole,
    Missing,
    Changed,
}

/// The files of a result, as [`record`] has recorded them.
#[derive(Debug, Default)]
pub struct RecordedFiles(Vec<ArtifactEntry>);

/// Files of a check that is no more than as many system calls.
const FEW: usize = 2;

fn stamp(meta: &Metadata) -> (u64, i64) {
    let changed = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (meta.len(), changed.map_or(0, |since| since.as_millis() as i64))
}

/// None for what is no regular file: reading a pipe or a device would not end.
fn hash(path: &Path) -> Option<String> {
    hash_of(&paths::open_regular(path).ok()?).ok()
}

/// What [`record`] answers when there is nothing to record.
pub const NONE: &str = "[]";

/// Whether the output names anything below `dir`, so that [`record`] would have to look.
pub fn are_named(output: &Value, dir: &Path) -> bool {
    match output {
        Value::String(text) => is_below(text, dir),
        Value::Array(items) => items.iter().any(|item| are_named(item, dir)),
        Value::Object(fields) => fields.values().any(|item| are_named(item, dir)),
        _ => false,
    }
}

fn is_below(text: &str, dir: &Path) -> bool {
    let path = Path::new(text);
    path.is_absolute() && path.starts_with(dir)
}

/// Records every file below `dir` that the output names, alone or in a folder. Answers JSON for the record. Blocks.
pub fn record(output: &Value, dir: &Path, hashed: bool) -> String {
    let mut files = IndexMap::new();
    collect(output, dir, hashed, &mut files);
    serde_json::to_string(&files.values().collect::<Vec<_>>()).unwrap_or_else(|_| NONE.into())
}

fn collect(value: &Value, dir: &Path, hashed: bool, files: &mut IndexMap<PathBuf, ArtifactEntry>) {
    match value {
        Value::String(text) if is_below(text, dir) => add(Path::new(text), dir, hashed, files),
        Value::Array(items) => items.iter().for_each(|item| collect(item, dir, hashed, files)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, dir, hashed, files)),
        _ => {}
    }
}

fn add(path: &Path, dir: &Path, hashed: bool, files: &mut IndexMap<PathBuf, ArtifactEntry>) {
    // In the order of their paths; what is in a folder comes right after it.
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        // The run's log lies in the run's folder, and goes on growing.
        let is_log = path.parent() == Some(dir) && path.file_name().is_some_and(log::is_log_file);
        if is_log || files.contains_key(&path) {
            continue;
        }
        if files.len() >= LIMIT {
            Limit::RecordedFiles.reached();
            return;
        }
        let Ok(meta) = path.metadata() else { continue };
        let is_file = !meta.is_dir();
        if !is_file && let Ok(entries) = path.read_dir() {
            let mut inside: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            inside.sort_by(|a, b| b.cmp(a));
            pending.append(&mut inside);
        }
        let recorded = ArtifactEntry {
            stamp: is_file.then(|| stamp(&meta)),
            hash: (is_file && hashed).then(|| hash(&path)).flatten(),
            elsewhere: false,
            object: None,
            path: path.clone(),
        };
        files.insert(path, recorded);
    }
}

impl RecordedFiles {
    /// Reads what [`record`] answered. Returns `None` if that cannot be read.
    pub fn parse(recorded: &str) -> Option<Self> {
        serde_json::from_str(recorded).ok().map(Self)
    }

    /// The objects among them.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectStamp> {
        self.0.iter().filter_map(|file| file.object.as_ref())
    }

    /// Whether a check takes a few system calls alone: no bytes are read.
    pub fn is_quick_to_check(&self) -> bool {
        self.0.len() <= FEW && self.0.iter().all(|file| file.hash.is_none())
    }

    /// Returns about how many bytes they take in memory.
    pub fn memory_size(&self) -> usize {
        // An object has its key twice.
        let texts = |file: &ArtifactEntry| {
            let path = file.path.as_os_str().len() * if file.object.is_some() { 2 } else { 1 };
            path + file.hash.as_ref().map_or(0, String::len)
        };
        self.0.iter().map(|file| size_of::<ArtifactEntry>() + texts(file)).sum()
    }

    /// Checks whether every file of this machine is still there and unchanged: in its bytes where those were recorded,
    /// else in size and time. Blocks on the file system.
    pub fn check(&self) -> ArtifactCheck {
        self.0
            .iter()
            .map(ArtifactEntry::check)
            .find(|found| *found != ArtifactCheck::Whole)
            .unwrap_or(ArtifactCheck::Whole)
    }
}

/// Adds files that are not on this machine to what [`record`] answered.
pub(super) fn append(recorded: String, elsewhere: Vec<ArtifactEntry>) -> String {
    if elsewhere.is_empty() {
        return recorded;
    }
    let mut files = RecordedFiles::parse(&recorded).unwrap_or_default();
    files.0.extend(elsewhere);
    serde_json::to_string(&files.0).unwrap_or(recorded)
}

impl ArtifactEntry {
    /// Makes the entry of a file that is on the machine of a worker.
    pub(super) fn on_worker(path: &str) -> Self {
        Self {
            path: PathBuf::from(path),
            stamp: None,
            hash: None,
            elsewhere: true,
            object: None,
        }
    }

    /// Makes the entry of an object as the object store has it.
    pub(super) fn in_store(object: ObjectStamp) -> Self {
        Self {
            object: Some(object.clone()),
            ..Self::on_worker(&format!("{}/{}", object.bucket, object.key))
        }
    }

    fn check(&self) -> ArtifactCheck {
        if self.elsewhere {
            return ArtifactCheck::Whole;
        }
        match (self.path.metadata(), self.stamp) {
            (Err(_), _) => ArtifactCheck::Missing,
            (Ok(meta), None) if meta.is_dir() => ArtifactCheck::Whole,
            // Where bytes were recorded they alone decide: a copy that was put back has other times.
            (Ok(meta), Some((size, _))) if self.hash.is_some() => {
                let is_same = !meta.is_dir() && meta.len() == size && hash(&self.path) == self.hash;
                if is_same {
                    ArtifactCheck::Whole
                } else {
                    ArtifactCheck::Changed
                }
            }
            (Ok(meta), Some(expected)) if !meta.is_dir() && stamp(&meta) == expected => ArtifactCheck::Whole,
            _ => ArtifactCheck::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn check_recorded(recorded: &str) -> ArtifactCheck {
        RecordedFiles::parse(recorded).unwrap().check()
    }

    #[test]
    fn r8_a_result_is_whole_until_one_of_its_files_is_gone_or_changed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("run");
        fs::create_dir_all(dir.join("frames")).unwrap();
        for name in ["a.wav", "frames/1.jpg", "frames/2.jpg"] {
            fs::write(dir.join(name), name).unwrap();
        }
        fs::write(temp.path().join("input.mp4"), "not ours").unwrap();
        let output = json!({"audio": dir.join("a.wav"), "more": [{"frames": dir.join("frames")}],
            "source": temp.path().join("input.mp4"), "text": "words"});
        let recorded = record(&output, &dir, false);
        assert_eq!(check_recorded(&recorded), ArtifactCheck::Whole);
        fs::remove_file(temp.path().join("input.mp4")).unwrap();
        assert_eq!(
            check_recorded(&recorded),
            ArtifactCheck::Whole,
            "only files of the run are looked at"
        );
        fs::write(dir.join("frames/2.jpg"), "other bytes").unwrap();
        assert_eq!(check_recorded(&recorded), ArtifactCheck::Changed);
        let recorded = record(&output, &dir, false);
        fs::remove_file(dir.join("a.wav")).unwrap();
        assert_eq!(check_recorded(&recorded), ArtifactCheck::Missing);

        fs::write(dir.join("run.log"), "a line").unwrap();
        let recorded = record(&json!({"folder": dir}), &dir, false);
        fs::write(dir.join("run.log"), "a line\nanother").unwrap();
        fs::write(dir.join("run.log.tail-8-2"), "the end").unwrap();
        assert_eq!(check_recorded(&recorded), ArtifactCheck::Whole, "the log is no result");
    }

    #[test]
    fn a_result_of_many_files_is_compared_by_its_first_ones() {
        let temp = tempfile::tempdir().unwrap();
        for number in 0..LIMIT {
            fs::write(temp.path().join(format!("{number:05}")), "").unwrap();
        }
        let before = Limit::RecordedFiles.times_reached();
        let recorded = record(&json!({"folder": temp.path()}), temp.path(), false);
        assert!(
            Limit::RecordedFiles.times_reached() > before,
            "the folder counts as one"
        );
        assert_eq!(check_recorded(&recorded), ArtifactCheck::Whole);
    }

    #[test]
    fn req9_with_hashes_other_bytes_of_the_same_size_and_time_are_seen() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.wav");
        fs::write(&path, "one").unwrap();
        let changed = path.metadata().unwrap().modified().unwrap();
        let output = json!({"audio": path});
        let (plain, hashed) = (record(&output, temp.path(), false), record(&output, temp.path(), true));
        fs::write(&path, "two").unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(changed)
            .unwrap();
        assert_eq!(check_recorded(&plain), ArtifactCheck::Whole);
        assert_eq!(check_recorded(&hashed), ArtifactCheck::Changed);
    }
}
