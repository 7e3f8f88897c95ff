//! `onceover files`: prints the files of results with their sizes and where they are, and downloads one.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use futures_util::{Stream, StreamExt};
use onceover_types::{NodeName, TaskId};
use onceover_wire::client::{Client, ClientError};
use serde::Serialize;
use tokio::{fs, io::AsyncWriteExt};

use super::{
    args::{FilesAction, FilesArgs, GetFileArgs},
    failure::{CommandResult, Failure},
    out::{print, print_json, print_note, print_warning, rewrite_note},
    terminal::has_cursor,
};
use crate::{
    driver::{list_stage_files, read_result_files},
    figures,
    model::preview::{MOST_FILES, ResultFile, ResultFiles},
    view::text,
};

/// Bytes between two reports of how far a download is.
const REPORT_STEP: u64 = 1 << 20;

/// The files of one stage's result.
#[derive(Debug, Serialize)]
struct StageFiles {
    node: NodeName,
    /// Whether there are no others.
    complete: bool,
    files: Vec<ResultFile>,
}

/// Runs the command.
pub async fn run(client: &Client, args: FilesArgs) -> CommandResult {
    match (args.action, args.task) {
        (Some(FilesAction::Get(get)), _) => download_file(client, get).await,
        (None, Some(task)) => list_files(client, &task, args.node, args.json).await,
        (None, None) => Err(Failure::new("name a task: onceover files TASK [NODE]")),
    }
}

async fn list_files(client: &Client, task: &TaskId, node: Option<NodeName>, json: bool) -> CommandResult {
    let view = client.task(task).await?;
    let nodes = match node {
        Some(node) => vec![node],
        None => view.stages.keys().cloned().collect(),
    };
    let mut stages = Vec::new();
    for node in nodes {
        let ResultFiles { files, complete, .. } = list_stage_files(client, &view, &node).await?;
        stages.push(StageFiles { node, complete, files });
    }
    if json {
        print_json(&stages)?;
        return Ok(true);
    }
    print(&format_stages(&stages))?;
    for stage in stages.iter().filter(|stage| !stage.complete) {
        print_warning(&format!("{}: only the first {MOST_FILES} files are listed", stage.node));
    }
    Ok(true)
}

/// Formats the files of each stage, a line each: name, size, kind and where it is.
fn format_stages(stages: &[StageFiles]) -> String {
    let mut lines = Vec::new();
    for stage in stages.iter().filter(|stage| !stage.files.is_empty()) {
        lines.push(stage.node.to_string());
        let names: Vec<_> = stage.files.iter().map(|file| text::harmless(&file.name)).collect();
        let column = names.iter().map(|name| text::width(name)).max().unwrap_or(0);
        for (file, name) in stage.files.iter().zip(&names) {
            let pad = " ".repeat(usize::from(column - text::width(name)));
            let size = figures::format_bytes(file.size);
            let kind = file.kind.word();
            lines.push(text::harmless(&format!(
                "  {name}{pad}  {size:>9}  {kind:<9}  {}",
                file.path
            )));
            if let Some(url) = &file.object_url {
                lines.push(text::harmless(&format!("    object  {url}")));
            }
        }
    }
    match lines.is_empty() {
        true => "no result names a file".to_owned(),
        false => lines.join("\n"),
    }
}

async fn download_file(client: &Client, args: GetFileArgs) -> CommandResult {
    let result = read_result_files(client, &args.task, &args.node).await?;
    let file = find_file(&result.files, &args.name).map_err(|why| {
        let text = format!("{why}; onceover files {} {} prints the names", args.task, args.node);
        Failure::new(text)
    })?;
    if file.size > args.max_bytes {
        let text = format!(
            "'{}' has {} bytes, more than --max-bytes {}",
            file.name, file.size, args.max_bytes
        );
        return Err(Failure::new(text));
    }
    let (length, stream) = client.download(&file.file_path).await?;
    let progress = DownloadProgress::new(length.unwrap_or(file.size), args.max_bytes);
    match args.output {
        Some(path) if path == Path::new("-") => write_to_stdout(stream, progress).await?,
        output => {
            let own_name = || PathBuf::from(file.name.rsplit('/').next().unwrap_or("file"));
            let path = output.unwrap_or_else(own_name);
            let bytes = write_to_file(&path, stream, progress).await?;
            print_note(&format!("{}: {}", path.display(), figures::format_bytes(bytes)));
        }
    }
    Ok(true)
}

/// Finds a file by its name, or by the last part of it where no other file has the same. The error is a sentence.
fn find_file<'a>(files: &'a [ResultFile], name: &str) -> Result<&'a ResultFile, String> {
    if let Some(file) = files.iter().find(|file| file.name == name) {
        return Ok(file);
    }
    let last_part = |file: &&ResultFile| file.name.rsplit('/').next() == Some(name);
    let found: Vec<_> = files.iter().filter(last_part).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(format!("the result has no file '{name}'")),
        several => Err(format!("{} files of the result are called '{name}'", several.len())),
    }
}

/// How far a download is.
struct DownloadProgress {
    whole: u64,
    most: u64,
    done: u64,
    /// The number of bytes from which it is shown again; `None`: it is not shown.
    next: Option<u64>,
}

impl DownloadProgress {
    fn new(whole: u64, most: u64) -> Self {
        let is_shown = io::stderr().is_terminal() && has_cursor();
        Self {
            whole,
            most,
            done: 0,
            next: is_shown.then_some(REPORT_STEP),
        }
    }

    /// Counts bytes. The error says that there are more than there may be.
    fn add(&mut self, bytes: usize) -> Result<(), Failure> {
        self.done += bytes as u64;
        if self.done > self.most {
            return Err(Failure::new(format!(
                "the file has more than --max-bytes {}",
                self.most
            )));
        }
        if self.next.is_some_and(|next| self.done >= next) {
            self.next = Some(self.done + REPORT_STEP);
            let percent = self.done.saturating_mul(100).checked_div(self.whole).unwrap_or(100);
            let (done, whole) = (figures::format_bytes(self.done), figures::format_bytes(self.whole));
            rewrite_note(&format!("{:>3} %  {done} of {whole}", percent.min(100)));
        }
        Ok(())
    }
}

impl Drop for DownloadProgress {
    fn drop(&mut self) {
        if self.next.is_some() {
            rewrite_note("");
        }
    }
}

/// Writes a download to a file, which is there whole or not at all. Returns its bytes.
async fn write_to_file(
    path: &Path,
    stream: impl Stream<Item = Result<bytes::Bytes, ClientError>>,
    progress: DownloadProgress,
) -> Result<u64, Failure> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = match fs::File::create(&part).await {
        Ok(file) => fill_file(file, &part, stream, progress).await,
        Err(error) => Err(Failure::unwritten_file(&part, &error)),
    };
    let moved = match written {
        Ok(bytes) => fs::rename(&part, path)
            .await
            .map(|()| bytes)
            .map_err(|error| Failure::unwritten_file(path, &error)),
        Err(failure) => Err(failure),
    };
    if moved.is_err() {
        // What there is of it is of no use.
        let _ = fs::remove_file(&part).await;
    }
    moved
}

async fn fill_file(
    mut file: fs::File,
    path: &Path,
    stream: impl Stream<Item = Result<bytes::Bytes, ClientError>>,
    mut progress: DownloadProgress,
) -> Result<u64, Failure> {
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        progress.add(chunk.len())?;
        file.write_all(&chunk)
            .await
            .map_err(|error| Failure::unwritten_file(path, &error))?;
    }
    file.flush()
        .await
        .map_err(|error| Failure::unwritten_file(path, &error))?;
    Ok(progress.done)
}

async fn write_to_stdout(
    stream: impl Stream<Item = Result<bytes::Bytes, ClientError>>,
    mut progress: DownloadProgress,
) -> Result<(), Failure> {
    let mut stream = std::pin::pin!(stream);
    let mut out = io::stdout();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        progress.add(chunk.len())?;
        out.write_all(&chunk).map_err(|error| Failure::unwritten(&error))?;
    }
    out.flush().map_err(|error| Failure::unwritten(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preview::FileKind;

    fn file(name: &str) -> ResultFile {
        ResultFile {
            name: name.into(),
            kind: FileKind::of_name(name),
            size: 1_234_567,
            path: format!("/s/t1/runs/r1/{name}"),
            file_path: format!("t1/runs/r1/{name}"),
            content_type: "image/jpeg".into(),
            download_url: "http://h/v1/files/download/x".into(),
            object_url: None,
        }
    }

    #[test]
    fn a_file_is_found_by_its_name_or_by_the_only_last_part() {
        let files = [file("a/1.jpg"), file("b/1.jpg"), file("b/2.jpg")];
        assert_eq!(find_file(&files, "b/1.jpg").unwrap().name, "b/1.jpg");
        assert_eq!(find_file(&files, "2.jpg").unwrap().name, "b/2.jpg");
        assert!(find_file(&files, "1.jpg").unwrap_err().contains("2 files"));
        assert!(find_file(&files, "3.jpg").unwrap_err().contains("no file '3.jpg'"));
    }

    #[test]
    fn files_are_printed_below_their_node() {
        let stage = StageFiles {
            node: NodeName::parse("a.b").unwrap(),
            complete: true,
            files: vec![file("1.jpg"), file("자막.srt")],
        };
        assert_eq!(
            format_stages(&[stage]),
            "a.b\n  1.jpg        1.2 MB  picture    /s/t1/runs/r1/1.jpg\n  자막.srt     1.2 MB  subtitles  /s/t1/runs/r1/자막.srt"
        );
        assert_eq!(format_stages(&[]), "no result names a file");
    }

    #[test]
    fn more_bytes_than_there_may_be_end_the_download() {
        let mut progress = DownloadProgress::new(10, 20);
        assert!(progress.add(20).is_ok());
        assert!(progress.add(1).unwrap_err().text.contains("--max-bytes 20"));
    }
}
