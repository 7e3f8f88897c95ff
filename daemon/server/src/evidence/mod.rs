//! What stands behind the text of a request (R8): which files its path parameters name at this moment, which runs of
//! earlier stages it takes values from, and which language model the configuration has for it. A run
//! keeps the evidence it began with beside its result; a submit compares.
//!
//! Evidence that cannot be had is unknown, and unknown is never equal: `strict` runs, and `auto` says that it does not
//! know. A file is looked at before it is read, so that one which changes while a run reads it differs afterwards.

pub(crate) mod disk;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use indexmap::{IndexMap, IndexSet};
use onceover_catalog::{NodeSpec, PathContent, ValueKind, is_placeholder};
use onceover_types::{NodeName, TaskId};
use serde_json::{Map, Value};

use self::disk::hash_of;
use crate::config::Verify;
use onceover_catalog::completion::{from_stage, referenced_node};
use onceover_limits::Limit;
use onceover_run::paths::{Roots, open_regular};

/// Entries of a folder that are looked at; what a larger one holds is not known.
pub(crate) const MOST_ENTRIES: usize = 20_000;
/// Files whose hash is remembered.
const MOST_HASHES: usize = 4096;

/// Whether a path input is to be downloaded.
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https" | "s3" | "minio"))
}

/// The path parameters that a request gives as such, by the name under which it does. One that is empty is left out, and a
/// reference to an earlier stage's output is known only when the run starts.
pub fn given_paths<'a>(
    node: &'a NodeSpec,
    input: &'a Map<String, Value>,
) -> impl Iterator<Item = (&'a str, &'a str, PathContent)> {
    let paths = node.parameters.iter().filter(|spec| spec.kind == ValueKind::Path);
    paths.filter_map(|spec| match spec.given(input)? {
        (name, Value::String(path)) if !path.is_empty() && !input.get(name).is_some_and(is_placeholder) => {
            Some((name, path.as_str(), spec.expects))
        }
        _ => None,
    })
}

/// Evidence of each path parameter that is given, by its name; None: unknown.
pub type ByParameter = BTreeMap<String, Option<String>>;

/// The one text that stands for all of it; None: something is unknown. Texts of different kinds cannot be compared.
pub fn as_one(parts: &ByParameter, verify: Verify) -> Option<String> {
    if parts.is_empty() {
        return Some("none".into());
    }
    let mut hasher = blake3::Hasher::new();
    for (name, evidence) in parts {
        let evidence = evidence.as_deref()?;
        for text in [name.as_str(), evidence] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    let kind = match verify {
        Verify::Stat => "stat",
        Verify::Hash => "hash",
    };
    Some(format!("{kind}:{}", hasher.finalize().to_hex()))
}

/// The evidence that a run began with, as one text: `found` has that of each path parameter that could be looked at, under
/// the parameter's name or the one that the request uses; `model` that of the language model.
pub fn of_request(
    node: &NodeSpec,
    input: &Map<String, Value>,
    mut found: ByParameter,
    model: ByParameter,
    verify: Verify,
) -> Option<String> {
    let given = given_paths(node, input).map(|(name, _, _)| {
        let spec = node.parameters.iter().find(|spec| spec.has_name(name));
        let own = spec.and_then(|spec| found.remove(&spec.name));
        (name.to_owned(), own.or_else(|| found.remove(name)).flatten())
    });
    as_one(&given.chain(model).collect(), verify)
}

/// What a server says of a resource, as evidence: its entity tag, else its length.
pub fn of_resource(etag: Option<&str>, length: Option<u64>) -> Option<String> {
    match etag.filter(|tag| !tag.is_empty()) {
        Some(tag) => Some(format!("etag {tag}")),
        None => length.map(|length| format!("length {length}")),
    }
}

/// Looks at the local files that a request names. URLs are left out. Blocks on the file system.
pub fn of_local_files(
    roots: &Roots,
    task: &TaskId,
    node: &NodeSpec,
    input: &Map<String, Value>,
    verify: Verify,
) -> ByParameter {
    let local = given_paths(node, input).filter(|(_, path, _)| !is_url(path));
    local
        .map(|(name, path, _)| {
            let path = roots.under_task(task, path);
            (name.to_owned(), of_path(roots, &path, verify))
        })
        .collect()
}

/// Looks at the local files that a request names by size and time alone, which takes a few system calls for each. Returns
/// `None` where one is a folder: what is in it may take a while.
pub fn of_plain_files(
    roots: &Roots,
    task: &TaskId,
    node: &NodeSpec,
    input: &Map<String, Value>,
) -> Option<ByParameter> {
    let mut found = ByParameter::new();
    for (name, path, _) in given_paths(node, input).filter(|(_, path, _)| !is_url(path)) {
        let evidence = match roots.open_input(&roots.under_task(task, path)) {
            Ok(opened) if opened.is_folder() => return None,
            Ok(opened) => opened.reader().ok().and_then(|file| of_file(&file, Verify::Stat)),
            Err(_) => None,
        };
        found.insert(name.to_owned(), evidence);
    }
    Some(found)
}

fn of_path(roots: &Roots, path: &str, verify: Verify) -> Option<String> {
    let opened = roots.open_input(path).ok()?;
    if opened.is_folder() {
        return of_folder(&opened, verify);
    }
    of_file(&opened.reader().ok()?, verify)
}

fn of_file(file: &File, verify: Verify) -> Option<String> {
    let meta = file.metadata().ok()?;
    match verify {
        Verify::Stat => Some(stamp(&meta)),
        Verify::Hash => hash(file, &meta),
    }
}

fn stamp(meta: &Metadata) -> String {
    format!("{} {}.{:09}", meta.len(), meta.mtime(), meta.mtime_nsec())
}

/// Names of everything in it, in order, each file with its own evidence. Links are not followed.
fn of_folder(folder: &Path, verify: Verify) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    let mut entries = 0;
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        let mut found = Vec::new();
        for entry in folder.join(&inside).read_dir().ok()? {
            entries += 1;
            if entries > MOST_ENTRIES {
                Limit::ComparedEntries.reached();
                return None;
            }
            found.push(entry.ok()?);
        }
        found.sort_by_key(std::fs::DirEntry::file_name);
        for entry in found {
            let path = inside.join(entry.file_name());
            let meta = entry.metadata().ok()?;
            let evidence = if meta.is_dir() {
                waiting.push(path.clone());
                "folder".to_owned()
            } else if meta.is_file() {
                match verify {
                    Verify::Stat => stamp(&meta),
                    Verify::Hash => of_file(&open_regular(&entry.path()).ok()?, verify)?,
                }
            } else {
                "other".to_owned()
            };
            hasher.update(path.as_os_str().as_encoded_bytes());
            hasher.update(format!("\0{evidence}\0").as_bytes());
        }
    }
    Some(format!("folder {}", hasher.finalize().to_hex()))
}

/// What a file is known by while nobody writes to it: device, inode, bytes, and times of change and of status change.
type Identity = (u64, u64, u64, (i64, i64), (i64, i64));

/// Hashes of files that were read whole before.
static HASHES: LazyLock<Mutex<HashMap<Identity, String>>> = LazyLock::new(Mutex::default);

fn hash(file: &File, meta: &Metadata) -> Option<String> {
    let identity = |meta: &Metadata| -> Identity {
        (
            meta.dev(),
            meta.ino(),
            meta.len(),
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        )
    };
    let before = identity(meta);
    let remembered = || HASHES.lock().expect("no thread panics with the hashes");
    if let Some(hash) = remembered().get(&before) {
        return Some(hash.clone());
    }
    let hash = hash_of(file).ok()?;
    // What was written to meanwhile has no one content.
    if identity(&file.metadata().ok()?) != before {
        return None;
    }
    let mut hashes = remembered();
    if hashes.len() >= MOST_HASHES {
        hashes.clear();
    }
    hashes.insert(before, hash.clone());
    Some(hash)
}

/// The stages that a run asks for values: of each parameter that the request leaves to earlier stages those that were
/// asked until one had it, of references the stage they name, and the stages that a value names.
pub fn asked_stages(
    node: &NodeSpec,
    input: &Map<String, Value>,
    resolved: &Map<String, Value>,
    stages: &IndexMap<NodeName, Map<String, Value>>,
) -> IndexSet<NodeName> {
    let mut asked: IndexSet<NodeName> = IndexSet::new();
    for value in input.values() {
        asked.extend(referenced_node(value));
    }
    for parameter in &node.parameters {
        if parameter.given(input).is_some_and(|(_, value)| !value.is_null()) {
            continue;
        }
        for fallback in &parameter.fallbacks {
            asked.insert(fallback.node.clone());
            if from_stage(fallback, stages).is_some() {
                break;
            }
        }
    }
    let lists = node.parameters.iter().filter(|spec| spec.kind == ValueKind::Array);
    for value in lists.filter_map(|spec| resolved.get(&spec.name)?.as_array()).flatten() {
        let name = value.as_str().and_then(|text| NodeName::parse(text).ok());
        asked.extend(name.filter(|name| stages.contains_key(name)));
    }
    asked
}

/// The stages that a run asks for values, as [`asked_stages`] finds them, each with the result it found. `results` names
/// the result of each stage that has a record. None: one of them was written by another worker and not taken over, so
/// that it cannot be distinguished from its next result.
pub fn sources(
    asked: &IndexSet<NodeName>,
    stages: &IndexMap<NodeName, Map<String, Value>>,
    results: &IndexMap<NodeName, String>,
) -> Option<IndexMap<NodeName, String>> {
    asked
        .iter()
        .map(|name| {
            let result = match results.get(name) {
                None if stages.contains_key(name) => return None,
                None => String::new(),
                Some(result) => result.clone(),
            };
            Some((name.clone(), result))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    fn of(path: &Path, verify: Verify) -> String {
        of_file(&File::open(path).unwrap(), verify).unwrap()
    }

    fn set_modified(path: &Path, to: std::time::SystemTime) {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(to)
            .unwrap();
    }

    #[test]
    fn r8_a_file_is_known_by_size_and_time_or_by_its_bytes_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("in.srt");
        fs::write(&path, "one").unwrap();
        let (stat, hash) = (of(&path, Verify::Stat), of(&path, Verify::Hash));
        let before = path.metadata().unwrap().modified().unwrap();
        // A copy, as `cp -r` makes it.
        set_modified(&path, before + Duration::from_secs(5));
        assert_ne!(of(&path, Verify::Stat), stat);
        assert_eq!(of(&path, Verify::Hash), hash);
        // Other bytes of the same size and time.
        fs::write(&path, "two").unwrap();
        set_modified(&path, before);
        assert_eq!(of(&path, Verify::Stat), stat);
        assert_ne!(of(&path, Verify::Hash), hash);
    }

    #[test]
    fn r8_a_folder_is_known_by_everything_in_it() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        fs::write(temp.path().join("a/b/1.jpg"), "1").unwrap();
        for verify in [Verify::Stat, Verify::Hash] {
            let before = of_folder(temp.path(), verify);
            assert!(before.is_some());
            assert_eq!(of_folder(temp.path(), verify), before);
            fs::write(temp.path().join("a/b/2.jpg"), "2").unwrap();
            assert_ne!(of_folder(temp.path(), verify), before);
            fs::remove_file(temp.path().join("a/b/2.jpg")).unwrap();
            assert_eq!(of_folder(temp.path(), verify), before);
        }
    }

    #[test]
    fn r8_plain_files_have_the_evidence_that_they_have_among_others_and_folders_have_none_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let media = temp.path().join("media");
        fs::create_dir_all(media.join("frames")).unwrap();
        fs::create_dir_all(temp.path().join("share")).unwrap();
        fs::write(media.join("a.mp4"), "video").unwrap();
        let roots = Roots::new(temp.path().join("share"), vec![media.clone()]).unwrap();
        let node = onceover_catalog::parse_node(
            r#"
            name = "a.one"
            runner = { command = ["true"] }
            [[parameters]]
            name = "video_path"
            type = "path"
            "#,
        )
        .unwrap();
        let task = TaskId::parse("t1").unwrap();
        let at = |path: PathBuf| Map::from_iter([("video_path".to_owned(), Value::from(path.to_str().unwrap()))]);
        for name in ["a.mp4", "missing.mp4"] {
            let input = at(media.join(name));
            let found = of_plain_files(&roots, &task, &node, &input).unwrap();
            assert_eq!(found, of_local_files(&roots, &task, &node, &input, Verify::Stat));
            assert_eq!(found["video_path"].is_some(), name == "a.mp4");
        }
        assert_eq!(of_plain_files(&roots, &task, &node, &at(media.join("frames"))), None);
    }

    #[test]
    fn r8_a_folder_with_more_than_is_compared_is_unknown() {
        let temp = tempfile::tempdir().unwrap();
        for number in 0..=MOST_ENTRIES {
            fs::write(temp.path().join(number.to_string()), "").unwrap();
        }
        let before = Limit::ComparedEntries.times_reached();
        assert_eq!(of_folder(temp.path(), Verify::Stat), None);
        assert!(Limit::ComparedEntries.times_reached() > before);
    }

    #[test]
    fn r8_what_is_unknown_is_never_equal() {
        let known = |text: &str| (text.to_owned(), Some(text.to_owned()));
        let parts = |list: Vec<(String, Option<String>)>| list.into_iter().collect::<ByParameter>();
        let stat = |list| as_one(&parts(list), Verify::Stat);
        assert_eq!(stat(vec![]).as_deref(), Some("none"));
        assert_eq!(stat(vec![known("a"), ("b".into(), None)]), None);
        assert_ne!(stat(vec![known("a")]), stat(vec![known("b")]));
        assert_ne!(stat(vec![known("a")]), as_one(&parts(vec![known("a")]), Verify::Hash));
        assert_eq!(of_resource(Some("\"x\""), Some(3)).as_deref(), Some("etag \"x\""));
        assert_eq!(of_resource(None, Some(3)).as_deref(), Some("length 3"));
        assert_eq!(of_resource(Some(""), None), None);
    }
}
