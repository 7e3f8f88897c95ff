//! The files of a run whose worker sees none of this machine's folders: inputs go to the object store before the message is
//! sent, and what the run wrote comes from there. All inputs are one object, and all results another: the bytes of the
//! files, one after another. Which they are, with their sizes and hashes, is in the message and in the worker's answer.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use onceover_run::{
    Object, RunContext, RunError,
    log::is_log_file,
    paths::{Opened, Roots, files_below},
};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::paths::PathMap;
use crate::objects::{ObjectStorage, Sink, StorageError, location::Location};

/// The field of an output by which a worker lists the files that it left in the store.
pub(super) const FILES_FIELD: &str = "onceover_files";
/// How long the URLs of a message are good for: as long as a store lets them be.
const URL_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Names of the two objects, below the key of the run's folder.
const INPUTS: &str = "worker-inputs";
const RESULT: &str = "worker-result";
/// Bytes that are read from a file at a time.
const CHUNK: usize = 256 << 10;

/// Why files did not get to the store, or from there.
pub(super) enum StoredFilesError {
    /// The store is unreachable or broken: it may be tried again.
    Unreachable(String),
    Run(RunError),
}

impl From<StorageError> for StoredFilesError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unavailable { .. } => Self::Unreachable(error.to_string()),
            error => Self::Run(RunError::failed(error.to_string())),
        }
    }
}

fn failed(why: impl Into<String>) -> StoredFilesError {
    StoredFilesError::Run(RunError::failed(why))
}

fn of_file(what: impl std::fmt::Display, why: &io::Error) -> StoredFilesError {
    StoredFilesError::Run(RunError::of_file(what, why))
}

/// A file or folder that the run's input names.
struct FoundInput {
    /// As the input names it.
    text: String,
    opened: Opened,
    /// The files, by their path below it, with their sizes; of a file, itself with an empty path.
    files: Vec<(PathBuf, u64)>,
}

impl FoundInput {
    fn open(&self, name: &Path) -> io::Result<File> {
        match name.as_os_str().is_empty() {
            true => self.opened.reader(),
            false => Opened::in_root(&self.opened, &self.opened.join(name))?.reader(),
        }
    }
}

/// A file that was sent, as the message lists it.
#[derive(Serialize)]
struct SentFile {
    /// Which of the inputs it belongs to.
    root: usize,
    path: String,
    size: u64,
    sha256: String,
}

/// A file that a worker left in the store.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct LeftFile {
    path: PathBuf,
    size: u64,
    sha256: String,
}

impl LeftFile {
    /// Whether the folder has this file. Blocks.
    fn is_in(&self, dir: &Path) -> bool {
        let path = dir.join(&self.path);
        let has_size = fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() == self.size);
        has_size && hash_file(&path).is_ok_and(|hash| hash == self.sha256)
    }
}

fn hash_file(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    io::copy(&mut file, &mut digest)?;
    Ok(format!("{:x}", digest.finalize()))
}

/// The files of one run.
pub(super) struct StoredRunFiles<'a> {
    pub(super) objects: &'a Arc<ObjectStorage>,
    pub(super) context: &'a RunContext,
    pub(super) paths: &'a PathMap,
}

impl StoredRunFiles<'_> {
    fn place(&self, name: &str) -> Result<Location, StoredFilesError> {
        let folder = self.context.dir.strip_prefix(self.context.roots.tasks_dir());
        let folder = folder.ok().and_then(Path::to_str);
        let folder = folder.ok_or_else(|| {
            failed(format!(
                "the folder {} cannot be a key of the object store",
                self.context.dir.display()
            ))
        })?;
        Ok(self.objects.place(format!("{folder}/{name}")))
    }

    /// Sends the inputs to the store. Returns what the message says of them, and of where the result goes.
    pub(super) async fn send_inputs(&self) -> Result<Value, StoredFilesError> {
        let (input, roots) = (self.context.input.clone(), Arc::clone(&self.context.roots));
        let found = crate::blocking::run(move || find_inputs(&input, &roots))
            .await
            .map_err(|error| failed(format!("its inputs could not be looked for: {error}")))?
            .map_err(StoredFilesError::Run)?;
        let result = self.place(RESULT)?;
        self.objects.prepare(&result.bucket).await?;
        let output = self.objects.presigned_for(Method::PUT, &result, URL_LIFETIME).await?;
        let mut url = None;
        let mut files = Vec::new();
        if found.iter().any(|input| !input.files.is_empty()) {
            let inputs = self.place(INPUTS)?;
            files = self.upload(&found, &inputs).await?;
            url = Some(self.objects.presigned_for(Method::GET, &inputs, URL_LIFETIME).await?);
        }
        let roots: Vec<_> = found.iter().map(|input| self.paths.to_workers(&input.text)).collect();
        Ok(json!({
            "inputs": {"url": url, "roots": roots, "files": files},
            "output": {"url": output},
        }))
    }

    async fn upload(&self, found: &[FoundInput], location: &Location) -> Result<Vec<SentFile>, StoredFilesError> {
        let sizes = found.iter().flat_map(|input| &input.files).map(|(_, size)| size);
        let mut sink = self.objects.write(location, sizes.sum()).await?;
        let sent = tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(StoredFilesError::Run(RunError::Interrupted)),
            sent = put_all(&mut sink, found) => sent,
        };
        match sent {
            Ok(files) => {
                sink.finish().await?;
                Ok(files)
            }
            Err(error) => {
                sink.abandon().await;
                Err(error)
            }
        }
    }

    /// Fetches what the worker left, into the run's folder. Each file must be the one that the worker has listed.
    pub(super) async fn fetch_result(&self, listed: &[LeftFile]) -> Result<(), StoredFilesError> {
        if listed.is_empty() {
            return Ok(());
        }
        for file in listed {
            check_name(&file.path).map_err(failed)?;
        }
        // An earlier owner of the run may have fetched them, and removed the object.
        let (dir, sought) = (self.context.dir.clone(), listed.to_vec());
        let are_here = crate::blocking::run(move || sought.iter().all(|file| file.is_in(&dir)));
        if are_here.await.unwrap_or(false) {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => Err(StoredFilesError::Run(RunError::Interrupted)),
            fetched = self.fetch(listed) => fetched,
        }
    }

    async fn fetch(&self, listed: &[LeftFile]) -> Result<(), StoredFilesError> {
        let location = self.place(RESULT)?;
        let (object, mut bytes) = self.objects.read(&location, None).await?;
        let total = listed.iter().try_fold(0, |sum: u64, file| sum.checked_add(file.size));
        if total != Some(object.size) {
            return Err(failed(format!(
                "the object {location} has {} bytes, which are not those of the {} files that the worker lists",
                object.size,
                listed.len()
            )));
        }
        let mut rest = Bytes::new();
        for file in listed {
            let path = self.context.dir.join(&file.path);
            let cannot = |error: &io::Error| of_file(format_args!("cannot write {}", path.display()), error);
            if let Some(folder) = path.parent() {
                tokio::fs::create_dir_all(folder)
                    .await
                    .map_err(|error| cannot(&error))?;
            }
            let mut into = tokio::fs::File::create(&path).await.map_err(|error| cannot(&error))?;
            let (mut left, mut digest) = (file.size, Sha256::new());
            while left > 0 {
                if rest.is_empty() {
                    let broken = || StoredFilesError::Unreachable(format!("the object {location} ended too early"));
                    rest = bytes.next().await.ok_or_else(broken)??;
                    continue;
                }
                let most = usize::try_from(left).unwrap_or(usize::MAX);
                let part = rest.split_to(rest.len().min(most));
                digest.update(&part);
                into.write_all(&part).await.map_err(|error| cannot(&error))?;
                left -= part.len() as u64;
            }
            into.flush().await.map_err(|error| cannot(&error))?;
            if format!("{:x}", digest.finalize()) != file.sha256 {
                return Err(failed(format!(
                    "the file {} of the result is not the one that the worker wrote: its hash is another",
                    file.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Removes both objects, which are of no use once the run has ended. What cannot be removed goes with the task.
    pub(super) async fn remove(&self) {
        for name in [INPUTS, RESULT] {
            let Ok(location) = self.place(name) else { return };
            if let Err(error) = self.objects.remove(&location).await {
                tracing::debug!(%error, object = %location, "an object of a worker's run is left at the store");
            }
        }
    }
}

/// Reads which files a worker left, out of its output.
pub(super) fn take_listed(output: &mut Object) -> Result<Vec<LeftFile>, RunError> {
    let listed = output.remove(FILES_FIELD).ok_or_else(|| {
        RunError::failed(
            "the worker does not say which files it left in the object store; its onceover_worker.py must be that of this \
             daemon",
        )
    })?;
    serde_json::from_value(listed).map_err(|error| {
        RunError::failed(format!(
            "the worker's list of files ({FILES_FIELD}) cannot be read: {error}"
        ))
    })
}

/// Refuses a path that leads out of the run's folder, or to the run's log.
fn check_name(path: &Path) -> Result<(), String> {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let is_taken = path.components().count() == 1 && is_log_file(path.as_os_str());
    if path.as_os_str().is_empty() || !is_plain || is_taken {
        return Err(format!(
            "the worker lists a file '{}', which cannot be in the run's folder",
            path.display()
        ));
    }
    Ok(())
}

/// Finds the files that the input names, wherever in it. Blocks.
fn find_inputs(input: &Object, roots: &Roots) -> Result<Vec<FoundInput>, RunError> {
    let mut texts = Vec::new();
    input.values().for_each(|value| collect_paths(value, &mut texts));
    let mut found: Vec<FoundInput> = Vec::new();
    for text in texts {
        if found.iter().any(|input| input.text == text) || roots.check_path(text).is_err() {
            continue;
        }
        let opened = match roots.open_input(text) {
            Ok(opened) => opened,
            Err(error @ RunError::Lacking { .. }) => return Err(error),
            // The program says what it makes of a file that is missing.
            Err(_) => continue,
        };
        let files =
            list_files(&opened, roots).map_err(|error| RunError::of_file(format!("cannot read {text}"), &error))?;
        found.push(FoundInput {
            text: text.to_owned(),
            opened,
            files,
        });
    }
    Ok(found)
}

fn collect_paths<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if text.starts_with('/') => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect_paths(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| collect_paths(field, into)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn list_files(opened: &Opened, roots: &Roots) -> io::Result<Vec<(PathBuf, u64)>> {
    if !opened.is_folder() {
        return Ok(vec![(PathBuf::new(), opened.reader()?.metadata()?.len())]);
    }
    let mut of_roots = [roots.tasks_dir()]
        .into_iter()
        .chain(roots.media().iter().map(PathBuf::as_path));
    let root = of_roots.find(|root| opened.starts_with(root));
    let root = root.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is below no root any more"))?;
    files_below(root, opened)
}

async fn put_all(sink: &mut Sink, found: &[FoundInput]) -> Result<Vec<SentFile>, StoredFilesError> {
    let mut sent = Vec::new();
    for (root, input) in found.iter().enumerate() {
        for (name, _) in &input.files {
            let path = name.to_str();
            let path = path.ok_or_else(|| failed(format!("the name of {} is not UTF-8", name.display())))?;
            let (size, sha256) = put_file(sink, input, name).await?;
            sent.push(SentFile {
                root,
                path: path.to_owned(),
                size,
                sha256,
            });
        }
    }
    Ok(sent)
}

async fn put_file(sink: &mut Sink, input: &FoundInput, name: &Path) -> Result<(u64, String), StoredFilesError> {
    let cannot = |error: &io::Error| of_file(format_args!("cannot read {}", input.opened.join(name).display()), error);
    let mut file = tokio::fs::File::from_std(input.open(name).map_err(|error| cannot(&error))?);
    let (mut buffer, mut digest, mut size) = (vec![0_u8; CHUNK], Sha256::new(), 0);
    loop {
        let read = file.read(&mut buffer).await.map_err(|error| cannot(&error))?;
        if read == 0 {
            return Ok((size, format!("{:x}", digest.finalize())));
        }
        digest.update(&buffer[..read]);
        sink.put(&buffer[..read]).await?;
        size += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, object};

    #[test]
    fn inputs_are_the_files_and_folders_that_the_input_names_wherever_it_does() {
        let fixture = Fixture::bare();
        let film = fixture.file("a.mp4", "film");
        let folder = fixture.path("frames");
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::write(folder.join("deep/1.jpg"), "one").unwrap();
        let folder = folder.display().to_string();
        let missing = fixture.path("missing").display().to_string();
        let input = object(json!({
            "video_path": film, "list": [{"frames": folder}, film], "missing": missing,
            "text": "words", "elsewhere": "/etc/passwd", "n": 1,
        }));
        let mut found = find_inputs(&input, &fixture.context.roots).unwrap();
        found.sort_by(|a, b| a.text.cmp(&b.text));
        let listed: Vec<_> = found.iter().map(|input| (&input.text, &input.files)).collect();
        assert_eq!(
            listed,
            [
                (&film, &vec![(PathBuf::new(), 4)]),
                (&folder, &vec![(PathBuf::from("deep/1.jpg"), 3)])
            ]
        );
        let mut bytes = String::new();
        io::Read::read_to_string(&mut found[1].open(Path::new("deep/1.jpg")).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, "one");
    }

    #[test]
    fn a_file_of_a_result_is_known_by_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let left = |path: &str, size, sha256: &str| LeftFile {
            path: path.into(),
            size,
            sha256: sha256.to_owned(),
        };
        assert!(left("a.txt", 3, sha256).is_in(dir.path()));
        assert!(!left("a.txt", 4, sha256).is_in(dir.path()));
        assert!(!left("a.txt", 3, "00").is_in(dir.path()));
        assert!(!left("b.txt", 3, sha256).is_in(dir.path()));
    }

    #[test]
    fn a_workers_list_of_files_is_taken_out_of_the_output_and_names_only_what_is_in_the_runs_folder() {
        let mut output = object(json!({"n": 1, FILES_FIELD: [{"path": "a/b.txt", "size": 3, "sha256": "00"}]}));
        let listed = take_listed(&mut output).unwrap();
        assert_eq!((listed.len(), listed[0].size), (1, 3));
        check_name(&listed[0].path).unwrap();
        assert_eq!(output, object(json!({"n": 1})));
        assert!(take_listed(&mut output).is_err());
        for bad in ["", "/etc/passwd", "../a", "a/../../b", onceover_run::log::FILE_NAME] {
            assert!(check_name(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
