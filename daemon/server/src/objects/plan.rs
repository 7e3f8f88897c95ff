//! Which files of a result go to the store, under which keys, and what the result says of them afterwards. Only what a run of
//! the task wrote goes up: inputs from elsewhere, and files that clients put there, do not.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use onceover_types::TaskId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::zip::CompressionInfo;

/// Names that URLs of these fields had in the older system, where nodes uploaded them themselves; kept beside the others.
const OLDER_NAMES: [(&str, &str); 4] = [
    ("cropped_images_path", "cropped_images_minio_url"),
    ("multi_frames_path", "multi_frames_minio_url"),
    ("manifest_path", "manifest_minio_url"),
    ("ocr_results_path", "ocr_results_minio_url"),
];

/// One file or folder that a result names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Real path, below the share and without links.
    pub path: PathBuf,
    pub is_folder: bool,
    /// Where it goes: the path below the share; of a folder, that of its archive.
    pub key: String,
}

/// What a field of the output names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    One(Result<Item, String>),
    List(Vec<Result<Item, String>>),
    Map(Vec<(String, Result<Item, String>)>),
}

impl Named {
    fn all(&self) -> Vec<&Result<Item, String>> {
        match self {
            Self::One(item) => vec![item],
            Self::List(items) => items.iter().collect(),
            Self::Map(items) => items.iter().map(|(_, item)| item).collect(),
        }
    }
}

/// The fields of a result that name files.
#[derive(Debug)]
pub struct Plan(Vec<(String, Named)>);

/// What is known of an object that is at the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<CompressionInfo>,
}

/// What a result says of its objects: the text between the brackets of an object, and of an array.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub fields: String,
    pub files: String,
}

impl Plan {
    /// Looks at every field of the output. Blocks.
    pub fn of(output: &Map<String, Value>, share: &Path, task: &TaskId) -> Self {
        let runs = share.join(task.as_str()).join("runs");
        let look = |text: &str| item(text, share, task, &runs);
        let mut fields = Vec::new();
        for (field, value) in output {
            let named = match value {
                Value::String(text) => look(text).map(Named::One),
                Value::Array(items) => {
                    let found: Vec<_> = items.iter().filter_map(|item| look(item.as_str()?)).collect();
                    (!found.is_empty()).then_some(Named::List(found))
                }
                Value::Object(items) => {
                    let named = items
                        .iter()
                        .filter_map(|(name, item)| Some((name.clone(), look(item.as_str()?)?)));
                    let found: Vec<_> = named.collect();
                    (!found.is_empty()).then_some(Named::Map(found))
                }
                _ => None,
            };
            fields.extend(named.map(|named| (field.clone(), named)));
        }
        Self(fields)
    }

    /// What goes up, each once.
    pub fn items(&self) -> Vec<&Item> {
        let all = self.0.iter().flat_map(|(_, named)| named.all());
        let by_key: BTreeMap<_, _> = all.flatten().map(|item| (&item.key, item)).collect();
        by_key.into_values().collect()
    }

    /// `<field>_minio_url` of a file, `<field>_minio_urls` of several, `<field>_compression_info` of a folder, and
    /// `<field>_upload_error` of what did not go up. A field that the output has already stays as it is.
    pub fn said(
        &self,
        output: &Map<String, Value>,
        stored: &HashMap<String, Result<Stored, String>>,
        url_of: impl Fn(&str) -> String,
    ) -> Said {
        let mut fields = Map::new();
        let mut say = |name: String, value: Value| {
            if !output.contains_key(&name) {
                fields.insert(name, value);
            }
        };
        let result = |named: &Result<Item, String>| match named {
            Err(why) => Err(why.clone()),
            Ok(item) => match stored.get(&item.key) {
                Some(Ok(stored)) => Ok((url_of(&item.key), stored.clone())),
                Some(Err(why)) => Err(why.clone()),
                None => Err("it was not uploaded".to_owned()),
            },
        };
        for (field, named) in &self.0 {
            let results: Vec<_> = named.all().into_iter().map(result).collect();
            let urls: Vec<_> = results
                .iter()
                .map(|result| result.as_ref().ok().map(|(url, _)| url))
                .collect();
            if urls.iter().any(Option::is_some) {
                match named {
                    Named::One(_) => {
                        say(format!("{field}_minio_url"), json!(urls[0]));
                        if let Some((_, older)) = OLDER_NAMES.iter().find(|(of, _)| of == field) {
                            say((*older).to_owned(), json!(urls[0]));
                        }
                    }
                    Named::List(_) => {
                        let urls: Vec<_> = urls.iter().flatten().collect();
                        say(format!("{field}_minio_urls"), json!(urls));
                    }
                    Named::Map(items) => {
                        let named = items
                            .iter()
                            .zip(&urls)
                            .filter_map(|((name, _), url)| Some((name.clone(), json!((*url)?))));
                        say(format!("{field}_minio_urls"), Value::Object(named.collect()));
                    }
                }
            }
            let mut archives = results
                .iter()
                .flatten()
                .filter_map(|(_, stored)| stored.archive.as_ref());
            if let Some(info) = archives.next_back() {
                say(format!("{field}_compression_info"), json!(info));
            }
            if let Some(why) = results.iter().find_map(|result| result.as_ref().err()) {
                say(format!("{field}_upload_error"), json!(why));
            }
        }
        let files: Vec<_> = self
            .items()
            .into_iter()
            .filter_map(|item| {
                let stored = stored.get(&item.key)?.as_ref().ok()?;
                let name = item.key.rsplit('/').next().unwrap_or_default();
                let kind = mime_guess::from_path(name).first_or_octet_stream().to_string();
                let file = json!({"name": name, "url": url_of(&item.key), "type": kind, "size": stored.size});
                Some(file.to_string())
            })
            .collect();
        let fields = Value::Object(fields).to_string();
        Said {
            fields: fields[1..fields.len() - 1].to_owned(),
            files: files.join(","),
        }
    }
}

/// What a text of an output names; None when that is no file of a run of the task.
fn item(text: &str, share: &Path, task: &TaskId, runs: &Path) -> Option<Result<Item, String>> {
    let path = Path::new(text);
    if !path.is_absolute() || !path.starts_with(share.join(task.as_str())) {
        return None;
    }
    // Through the link `nodes/<node>`, among others; what leads elsewhere is not the run's.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) => return Some(Err(format!("{text} is not there: {error}"))),
    };
    let is_folder = real.is_dir();
    if !real.starts_with(runs) || real == runs {
        return None;
    }
    let (Some(key), Some(name)) = (
        real.strip_prefix(share).ok().and_then(Path::to_str),
        real.file_name().and_then(|name| name.to_str()),
    ) else {
        return Some(Err(format!("{text} cannot be a key: its name is not UTF-8")));
    };
    let key = match is_folder {
        true => format!("{key}/{name}_compressed.zip"),
        false => key.to_owned(),
    };
    if let Err(why) = super::location::check_key(&key) {
        return Some(Err(format!("{text} cannot be a key: {why}")));
    }
    Some(Ok(Item {
        path: real,
        is_folder,
        key,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_what_runs_of_the_task_wrote_goes_up_and_the_output_keeps_its_fields() {
        let temp = tempfile::tempdir().unwrap();
        let share = fs::canonicalize(temp.path()).unwrap();
        let task = TaskId::parse("t1").unwrap();
        for folder in ["t1/runs/r1/audio", "t1/runs/r1/frames", "t1/nodes", "t2/runs/r2"] {
            fs::create_dir_all(share.join(folder)).unwrap();
        }
        for file in [
            "t1/runs/r1/audio/a b.wav",
            "t1/runs/r1/frames/1.jpg",
            "t1/in.mp4",
            "t2/runs/r2/x",
        ] {
            fs::write(share.join(file), file).unwrap();
        }
        symlink("../runs/r1", share.join("t1/nodes/demo.node")).unwrap();
        symlink("/etc", share.join("t1/runs/r1/etc")).unwrap();
        let at = |path: &str| share.join(path).display().to_string();
        let output = json!({
            "audio_path": at("t1/runs/r1/audio/a b.wav"),
            "again": at("t1/nodes/demo.node/audio/a b.wav"),
            "keyframe_dir": at("t1/runs/r1/frames"),
            "all_audio_files": [at("t1/runs/r1/audio/a b.wav"), "words", 3],
            "subtitle_files": {"basic": at("t1/runs/r1/frames/1.jpg"), "none": null},
            "gone_path": at("t1/runs/r1/gone"), "manifest_path": at("t1/runs/r1/audio/a b.wav"),
            "input": at("t1/in.mp4"), "other": at("t2/runs/r2/x"), "passwd": at("t1/runs/r1/etc/passwd"),
            "relative": "audio/a b.wav", "text": "words", "number": 1, "audio_path_upload_error": "kept",
        });
        let output = output.as_object().unwrap();
        let plan = Plan::of(output, &share, &task);
        let keys: Vec<_> = plan.items().iter().map(|item| item.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "t1/runs/r1/audio/a b.wav",
                "t1/runs/r1/frames/1.jpg",
                "t1/runs/r1/frames/frames_compressed.zip"
            ]
        );
        let stored = |size, archive| Ok(Stored { size, archive });
        let info = CompressionInfo::new(1, 24, 12);
        let stored = HashMap::from([
            (keys[0].to_owned(), stored(24, None)),
            (keys[1].to_owned(), Err("away".to_owned())),
            (keys[2].to_owned(), stored(12, Some(info))),
        ]);
        let said = plan.said(output, &stored, |key| format!("http://s/{key}"));
        let fields: Value = serde_json::from_str(&format!("{{{}}}", said.fields)).unwrap();
        let audio = "http://s/t1/runs/r1/audio/a b.wav";
        assert_eq!(fields["audio_path_minio_url"], audio);
        assert_eq!(fields["again_minio_url"], audio);
        assert_eq!(fields["all_audio_files_minio_urls"], json!([audio]));
        assert_eq!(
            fields["keyframe_dir_minio_url"],
            "http://s/t1/runs/r1/frames/frames_compressed.zip"
        );
        assert_eq!(
            fields["keyframe_dir_compression_info"],
            json!({"files_count": 1, "original_size": 24, "compressed_size": 12, "compression_ratio": 0.5, "format": "zip"})
        );
        assert_eq!(fields["subtitle_files_upload_error"], "away");
        assert!(
            fields["gone_path_upload_error"]
                .as_str()
                .unwrap()
                .contains("is not there")
        );
        assert_eq!(
            (&fields["manifest_path_minio_url"], &fields["manifest_minio_url"]),
            (&json!(audio), &json!(audio))
        );
        assert_eq!(fields.as_object().unwrap().len(), 9, "{fields:#}");
        let files: Vec<Value> = serde_json::from_str(&format!("[{}]", said.files)).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(
            files[0],
            json!({"name": "a b.wav", "url": audio, "type": "audio/wav", "size": 24})
        );
        let nothing = Plan::of(&Map::new(), &share, &task).said(&Map::new(), &HashMap::new(), |_| String::new());
        assert_eq!(nothing, Said::default());
    }
}
