//! The files of a result: recorded when a run finishes, looked at again before the result is reused (R8).

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde_json::Value;

use crate::executor::log;

/// Files of one result that are recorded one by one; a folder with more counts by its first ones.
const LIMIT: usize = 5000;

/// One recorded file: path, size in bytes, time of change in milliseconds since 1970. A folder has neither.
type Recorded = (PathBuf, Option<(u64, i64)>);

fn stamp(meta: &Metadata) -> (u64, i64) {
    let changed = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (meta.len(), changed.map_or(0, |since| since.as_millis() as i64))
}

/// Records every file below `dir` that the output names, alone or in a folder. Answers JSON for the record.
pub fn record(output: &Value, dir: &Path) -> String {
    let mut files: Vec<Recorded> = Vec::new();
    collect(output, dir, &mut files);
    serde_json::to_string(&files).unwrap_or_else(|_| "[]".into())
}

fn collect(value: &Value, dir: &Path, files: &mut Vec<Recorded>) {
    match value {
        Value::String(text) => {
            let path = Path::new(text);
            if path.is_absolute() && path.starts_with(dir) {
                add(path, dir, files);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, dir, files)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, dir, files)),
        _ => {}
    }
}

fn add(path: &Path, dir: &Path, files: &mut Vec<Recorded>) {
    // The run's log lies in the run's folder, and goes on growing.
    if path == dir.join(log::FILE_NAME) || files.len() >= LIMIT || files.iter().any(|(known, _)| known == path) {
        return;
    }
    let Ok(meta) = path.metadata() else { return };
    if !meta.is_dir() {
        files.push((path.to_owned(), Some(stamp(&meta))));
        return;
    }
    files.push((path.to_owned(), None));
    let Ok(entries) = path.read_dir() else { return };
    let mut inside: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    inside.iter().for_each(|path| add(path, dir, files));
}

/// Whether every recorded file is still there, unchanged in size and time. Blocks on the file system.
pub fn whole(recorded: &str) -> bool {
    let Ok(files) = serde_json::from_str::<Vec<Recorded>>(recorded) else {
        return false;
    };
    files.iter().all(|(path, expected)| match (path.metadata(), expected) {
        (Ok(meta), Some(expected)) => !meta.is_dir() && stamp(&meta) == *expected,
        (Ok(meta), None) => meta.is_dir(),
        (Err(_), _) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

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
        let recorded = record(&output, &dir);
        assert!(whole(&recorded));
        fs::remove_file(temp.path().join("input.mp4")).unwrap();
        assert!(whole(&recorded), "only files of the run are looked at");
        fs::write(dir.join("frames/2.jpg"), "other bytes").unwrap();
        assert!(!whole(&recorded), "changed");
        let recorded = record(&output, &dir);
        fs::remove_file(dir.join("a.wav")).unwrap();
        assert!(!whole(&recorded), "gone");

        fs::write(dir.join("run.log"), "a line").unwrap();
        let recorded = record(&json!({"folder": dir}), &dir);
        fs::write(dir.join("run.log"), "a line\nanother").unwrap();
        assert!(whole(&recorded), "the log is no result");
    }
}
