//! Registering a video: where its file comes from, and whether it is one at all. The file is looked at the way a run
//! looks at its inputs: beneath the allowed roots, fetched through the same guard, by an ffprobe that opens nothing else.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use indexmap::IndexMap;
use onceover_catalog::{NodeSpec, parse_node};
use onceover_types::{RunId, TaskId, Timestamp, VideoId, humane};
use onceover_wire::{Video, VideoProbe, VideoRequest, VideoSource};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::{FileFault, VideoError};
use crate::downloads::Downloads;
use onceover_limits::Limit;
use onceover_nodes::{self as nodes, Undescribed};
use onceover_process::LocalPrograms;
use onceover_run::{
    OpenedInputs, ProgressSink, RunContext, RunError,
    log::RunLog,
    paths::{OpenError, OpenFault, Roots, harmless_name, remove_folder},
    warnings::RunWarnings,
};
use onceover_store::Store;

/// How long ffprobe may look at a file.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// Characters of a title.
const LONGEST_TITLE: usize = 500;

/// What a video is to be called.
#[derive(Debug, Clone)]
pub struct Names {
    pub id: VideoId,
    pub title: Option<String>,
}

/// A folder made for the file of one video; removed when dropped before it was kept.
pub struct Incoming {
    parent: PathBuf,
    name: String,
    keep: bool,
}

impl Incoming {
    fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = remove_folder(&self.parent, &self.name) {
            tracing::warn!(%error, folder = %self.path().display(), "the file of a refused video was not removed");
        }
    }
}

/// Registers videos.
pub struct Registrations {
    store: Store,
    roots: Arc<Roots>,
    downloads: Arc<Downloads>,
    /// Folder of the files that are uploaded or fetched.
    folder: Arc<PathBuf>,
    /// What the processes that look at files are marked with, beside their own number.
    mark: Arc<str>,
    /// Largest upload, bytes.
    max_bytes: u64,
}

impl Registrations {
    pub fn new(
        store: Store,
        roots: Arc<Roots>,
        downloads: Arc<Downloads>,
        folder: Arc<PathBuf>,
        mark: Arc<str>,
        max_bytes: u64,
    ) -> Self {
        Self {
            store,
            roots,
            downloads,
            folder,
            mark,
            max_bytes,
        }
    }

    /// Checks id and title.
    pub fn check_names(&self, id: Option<&str>, title: Option<&str>) -> Result<Names, VideoError> {
        let id = match id {
            None => VideoId::generate(),
            Some(text) => VideoId::parse(text).map_err(|error| VideoError::field("video_id", error.to_string()))?,
        };
        let title = title.map(str::trim).filter(|title| !title.is_empty());
        if title.is_some_and(|title| title.chars().count() > LONGEST_TITLE) {
            return Err(VideoError::field(
                "title",
                format!("it is longer than {LONGEST_TITLE} characters"),
            ));
        }
        if title.is_some_and(|title| title.chars().any(char::is_control)) {
            return Err(VideoError::field("title", "it has a control character"));
        }
        Ok(Names {
            id,
            title: title.map(str::to_owned),
        })
    }

    /// Registers a file below an allowed root, or one that is fetched from a URL first.
    pub async fn register_video(&self, request: &VideoRequest) -> Result<Video, VideoError> {
        let names = self.check_names(request.video_id.as_deref(), request.title.as_deref())?;
        match (&request.path, &request.url) {
            (Some(path), None) => {
                let allowed = self.roots.check_path(path);
                allowed.map_err(|error| not_opened("path", error))?;
                self.refuse_taken(&names.id).await?;
                // Only for what ffprobe says; the file stays where it is.
                let scratch = self.incoming(&names.id)?;
                let (real, probe) = self.probe("path", path, &scratch).await?;
                self.add(names, VideoSource::Path, &real, None, probe).await
            }
            (None, Some(url)) => {
                let allowed = self.downloads.check(url);
                let shown = allowed.map_err(|why| VideoError::field("url", why))?;
                self.refuse_taken(&names.id).await?;
                let mut folder = self.incoming(&names.id)?;
                let (file, probe) = self.probe("url", url, &folder).await?;
                let mut bare = shown;
                bare.set_query(None);
                bare.set_fragment(None);
                let video = self
                    .add(names, VideoSource::Url, &file, Some(bare.to_string()), probe)
                    .await?;
                folder.keep = true;
                Ok(video)
            }
            _ => Err(VideoError::field(
                "path",
                "give either path, a file on this machine, or url, where to fetch it from",
            )),
        }
    }

    /// Registers a file that comes with the request.
    pub async fn register_upload<E: std::fmt::Display>(
        &self,
        names: Names,
        file_name: &str,
        mut content: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Video, VideoError> {
        self.refuse_taken(&names.id).await?;
        let mut folder = self.incoming(&names.id)?;
        let path = folder.path().join(harmless(file_name));
        let mut file = tokio::fs::File::create(&path).await.map_err(cannot_store)?;
        let mut got = 0;
        while let Some(chunk) = content.next().await {
            let chunk = chunk.map_err(|error| VideoError::field("file", format!("it broke off: {error}")))?;
            got += chunk.len() as u64;
            if got > self.max_bytes {
                Limit::DownloadedInput.reached();
                return Err(VideoError::field(
                    "file",
                    format!("it is larger than {} (inputs.max_bytes)", humane::bytes(self.max_bytes)),
                ));
            }
            file.write_all(&chunk).await.map_err(cannot_store)?;
        }
        file.flush().await.map_err(cannot_store)?;
        drop(file);
        if got == 0 {
            return Err(VideoError::field("file", "it is empty"));
        }
        let (file, probe) = self.probe("file", &path.display().to_string(), &folder).await?;
        let video = self.add(names, VideoSource::Upload, &file, None, probe).await?;
        folder.keep = true;
        Ok(video)
    }

    /// Before anything is fetched; the registration itself decides.
    async fn refuse_taken(&self, id: &VideoId) -> Result<(), VideoError> {
        match self.store.video(id).await? {
            Some(_) => Err(VideoError::Taken(id.clone())),
            None => Ok(()),
        }
    }

    fn incoming(&self, id: &VideoId) -> Result<Incoming, VideoError> {
        let unique = RunId::generate().to_string();
        // The random part of the id's end.
        let name = format!("{id}.{}", &unique[unique.len() - 12..]);
        std::fs::create_dir_all(self.folder.join(&name)).map_err(cannot_store)?;
        Ok(Incoming {
            parent: self.folder.to_path_buf(),
            name,
            keep: false,
        })
    }

    async fn add(
        &self,
        names: Names,
        source: VideoSource,
        file: &Path,
        url: Option<String>,
        probe: VideoProbe,
    ) -> Result<Video, VideoError> {
        let of_file = || file.file_name().map(|name| name.to_string_lossy().into_owned());
        let video = Video {
            task_id: names.id.task(),
            title: names.title.or_else(of_file).unwrap_or_else(|| names.id.to_string()),
            source,
            path: file.display().to_string(),
            url,
            probe,
            created_at: Timestamp::now(),
            processing: None,
            video_id: names.id,
        };
        match self.store.add_video(&video).await? {
            true => Ok(video),
            false => Err(VideoError::Taken(video.video_id)),
        }
    }

    /// Fetches the file where `text` is a URL, and has ffprobe look at it. Answers where it is and what it is; an error
    /// names the field. A fetched file ends in the folder.
    async fn probe(&self, field: &str, text: &str, folder: &Incoming) -> Result<(PathBuf, VideoProbe), VideoError> {
        let dir = folder.path();
        let mut context = self.context_of_look(field, text, &dir)?;
        let _end = context.cancel.clone().drop_guard();
        let path = self.fetch(field, &mut context).await?;
        let opened = self.roots.try_open_file(&path);
        let opened = opened.map_err(|error| not_opened(field, error))?;
        let cancel = context.cancel.clone();
        let timeout = async {
            tokio::time::sleep(LOOK_LIMIT).await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let probe = tokio::select! {
            probe = nodes::describe(&context, &opened) => probe.map_err(|error| not_described(field, error))?,
            () = timeout => unreachable!("it waits for ever"),
        };
        let log = context.log.path().to_owned();
        drop(context);
        // What ffprobe printed is of no more use.
        let _ = tokio::fs::remove_file(log).await;
        Ok((opened.to_path_buf(), probe))
    }

    /// What makes the file the input of a run without a stage.
    fn context_of_look(&self, field: &str, text: &str, dir: &Path) -> Result<RunContext, VideoError> {
        let run = RunId::generate();
        Ok(RunContext {
            task_id: TaskId::generate(),
            attempt: 1,
            node: Arc::new(node_of_look(field)),
            input: Map::from_iter([(field.to_owned(), Value::from(text))]),
            stages: IndexMap::new(),
            log: RunLog::create(dir).map_err(cannot_store)?,
            dir: dir.to_owned(),
            roots: Arc::clone(&self.roots),
            opened: OpenedInputs::default(),
            programs: Arc::new(LocalPrograms),
            fresh: false,
            uploads: false,
            progress: ProgressSink::new().0,
            warnings: RunWarnings::default(),
            cancel: CancellationToken::new(),
            hides_gpu: true,
            mark: format!("{}/video/{run}", self.mark),
            run_id: run,
        })
    }

    /// Fetches the file where it is a URL, under a harmless name. Answers its path.
    async fn fetch(&self, field: &str, context: &mut RunContext) -> Result<String, VideoError> {
        // Removes what it fetched, unless that has been moved away.
        let fetched = self.downloads.fetch(context).await;
        let fetched = fetched.map_err(|error| match error {
            RunError::Failed(why) => {
                let named = format!("input_data.{field}: ");
                VideoError::field(field, why.strip_prefix(&named).unwrap_or(&why))
            }
            other => not_run(field, other),
        })?;
        let path = context.input[field].as_str().unwrap_or_default();
        if fetched.is_none() {
            return Ok(path.to_owned());
        }
        let name = Path::new(path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let kept = context.dir.join(harmless(&name.unwrap_or_default()));
        tokio::fs::rename(path, &kept).await.map_err(cannot_store)?;
        Ok(kept.display().to_string())
    }
}

fn not_opened(field: &str, error: OpenError) -> VideoError {
    let OpenError { fault, message } = error;
    match fault {
        OpenFault::Malformed => VideoError::field(field, message),
        OpenFault::NotAllowed => VideoError::file(FileFault::NotAllowed, field, message),
        OpenFault::Unreadable => VideoError::file(FileFault::Unreadable, field, message),
        OpenFault::Lacking(_) => VideoError::Storage(message),
    }
}

fn not_described(field: &str, error: Undescribed) -> VideoError {
    match error {
        Undescribed::NoVideo(why) => VideoError::file(FileFault::NoVideo, field, why),
        Undescribed::Damaged(why) => VideoError::file(FileFault::Damaged, field, why),
        Undescribed::Run(error) => not_run(field, error),
    }
}

/// The error for a file about which ffprobe gave no answer.
fn not_run(field: &str, error: RunError) -> VideoError {
    match error {
        RunError::Failed(why) => VideoError::file(FileFault::Unreadable, field, why),
        RunError::Lacking { message, .. } => VideoError::Storage(message),
        RunError::Interrupted => {
            let limit = humane::duration(LOOK_LIMIT);
            let why = format!("ffprobe gave no answer about it within {limit}");
            VideoError::file(FileFault::TimedOut, field, why)
        }
    }
}

/// What makes the fetching of inputs see the file: a node with one parameter.
fn node_of_look(field: &str) -> NodeSpec {
    let text = format!(
        "name = \"onceover.look\"\nrunner = {{ builtin = \"look\" }}\n[[parameters]]\nname = \"{field}\"\ntype = \"path\"\n"
    );
    parse_node(&text).expect("a node of one parameter")
}

fn cannot_store(error: std::io::Error) -> VideoError {
    use std::io::ErrorKind;
    VideoError::Storage(match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!(
                "the disk is full, the file was not stored ({error}); remove what is not needed, onceoverd gc helps"
            )
        }
        _ => format!("the folder of videos cannot be written to: {error}"),
    })
}

/// A name for the file: the last part of what it was called, made harmless.
fn harmless(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    match harmless_name(last, "video").trim_matches(['.', ' ']) {
        // The log of the check itself.
        name if onceover_run::log::is_log_file(name.as_ref()) => "video".into(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_a_file_is_distinguished() {
        let faults = [
            (Undescribed::NoVideo("why".into()), FileFault::NoVideo),
            (Undescribed::Damaged("why".into()), FileFault::Damaged),
            (RunError::failed("why").into(), FileFault::Unreadable),
            (RunError::Interrupted.into(), FileFault::TimedOut),
        ];
        for (error, expected) in faults {
            let VideoError::File { fault, field } = not_described("path", error) else {
                panic!("{expected:?}")
            };
            assert_eq!((fault, field.field.as_str()), (expected, "path"));
        }
        let lacking = RunError::lacking(onceover_limits::lack::Lack::Memory, "no memory");
        assert!(matches!(not_described("path", lacking.into()), VideoError::Storage(_)));
    }

    #[test]
    fn an_uploaded_file_gets_a_harmless_name() {
        for (given, name) in [
            ("clip.mp4", "clip.mp4"),
            ("../../etc/passwd", "passwd"),
            ("C:\\films\\a.mkv", "a.mkv"),
            ("..", "video"),
            ("", "video"),
            ("run.log", "video"),
            ("run.log.tail-1-1", "video"),
            ("a\nb\0.mp4", "a_b_.mp4"),
            ("字幕.mp4", "字幕.mp4"),
        ] {
            assert_eq!(harmless(given), name, "{given:?}");
        }
        let long = harmless(&format!("{}.mp4", "é".repeat(300)));
        assert!(
            long.len() <= onceover_run::paths::LONGEST_NAME && long.ends_with(".mp4"),
            "{long}"
        );
    }
}
