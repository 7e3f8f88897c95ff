//! Reads which files the result of a stage names, and what one of them says. Everything that is read has a limit.

use std::{collections::BTreeSet, sync::Arc};

use onceover_types::{NodeName, TaskId};
use onceover_wire::{
    FileItem, TaskView, UNVERIFIED,
    client::{Client, ClientError, FileQuery},
};
use serde_json::Value;

use super::pictures::{self, PictureKey, Pictures};
use crate::{
    figures,
    model::preview::{
        FileContent, FileKind, MOST_FILES, NamedPaths, ResultFile, ResultFiles, TextPreview, folder_of, list_facts,
        share_of, visit_texts,
    },
    update::{CallAnswer, Refusal},
};

/// Files on a page of the daemon's list, and those that are compared with what the output names.
const PAGE: u32 = 1_000;
const MOST_COMPARED: usize = 10_000;
/// Bytes of a picture's file that are read.
const LARGEST_PICTURE: u64 = 8 * 1024 * 1024;
/// Bytes of a text that are read.
const LARGEST_TEXT: usize = 256 * 1024;
/// Cues that are kept.
const MOST_CUES: usize = 50_000;
/// Characters of one line of a text; a longer one continues in the next.
const LINE: usize = 1_000;

/// Reads the files that the output of a stage names; none of a stage that there is not.
pub async fn read_result_files(client: &Client, task: &TaskId, node: &NodeName) -> Result<ResultFiles, ClientError> {
    list_stage_files(client, &client.task(task).await?, node).await
}

/// Lists the files that the output of a stage of this task names; none of a stage that there is not.
pub async fn list_stage_files(client: &Client, view: &TaskView, node: &NodeName) -> Result<ResultFiles, ClientError> {
    let Some(stage) = view.stages.get(node) else {
        return Ok(ResultFiles {
            complete: true,
            ..ResultFiles::default()
        });
    };
    let output: Value = serde_json::from_str(stage.output.get()).unwrap_or_default();
    let named = NamedPaths::collect(&output, &view.shared_storage_path);
    let mut found = ResultFiles {
        complete: true,
        facts: list_facts(&output),
        ..ResultFiles::default()
    };
    for folder in named.list_folders() {
        found.complete &= list_folder(client, view, (&output, &named), folder, &mut found.files).await?;
    }
    let warnings = stage.result_warnings();
    if warnings.iter().any(|warning| warning.code == UNVERIFIED) {
        let inputs: Value = serde_json::from_str(stage.input_params.get()).unwrap_or_default();
        found.on_worker = list_others(&output, &inputs, &found.files);
    }
    Ok(found)
}

/// Lists the paths of an output that are neither of the input nor of a file that the daemon has, each once.
fn list_others(output: &Value, inputs: &Value, files: &[ResultFile]) -> Vec<String> {
    let (named, known) = (find_paths(output), find_paths(inputs));
    let others = named.difference(&known);
    let others = others.filter(|path| !files.iter().any(|file| is_or_holds(path, &file.path)));
    others.take(MOST_FILES).map(|path| (*path).to_owned()).collect()
}

/// Whether a path is that of a file, or of a folder that it is in.
fn is_or_holds(path: &str, file: &str) -> bool {
    let rest = file.strip_prefix(path.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Finds the texts of a value that read as absolute paths.
fn find_paths(value: &Value) -> BTreeSet<&str> {
    let mut paths = BTreeSet::new();
    visit_texts(value, &mut |text| {
        let rest = text.strip_prefix('/');
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ' '])) {
            paths.insert(text);
        }
    });
    paths
}

/// Adds the files of a folder that are named. Returns `false` if there may be more.
async fn list_folder(
    client: &Client,
    view: &TaskView,
    (output, named): (&Value, &NamedPaths),
    folder: String,
    files: &mut Vec<ResultFile>,
) -> Result<bool, ClientError> {
    let mut query = FileQuery {
        prefix: Some(folder),
        limit: Some(PAGE),
        cursor: None,
        disk: true,
    };
    for _ in 0..MOST_COMPARED / PAGE as usize {
        let page = client.files(&query).await?;
        for item in page.files {
            if !named.has(&item.file_path) {
                continue;
            }
            if files.len() >= MOST_FILES {
                return Ok(false);
            }
            files.push(describe_file(view, output, item));
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Describes a file of the daemon's list.
fn describe_file(view: &TaskView, output: &Value, item: FileItem) -> ResultFile {
    let folder = folder_of(&item.file_path);
    let name = item.file_path.strip_prefix(&folder).unwrap_or(&item.file_path);
    let name = name.trim_start_matches('/').to_owned();
    ResultFile {
        kind: FileKind::of_name(&name),
        size: item.size,
        path: format!("{}/{}", share_of(&view.shared_storage_path), item.file_path),
        object_url: find_object_url(output, &name),
        name,
        content_type: item.content_type,
        download_url: item.download_url,
        file_path: item.file_path,
    }
}

/// Finds where the object store has a file: the output names a URL that ends as the file's name does.
fn find_object_url(output: &Value, name: &str) -> Option<String> {
    let end = format!("/{name}");
    let is_of_file = |url: &&str| url.split(['?', '#']).next().is_some_and(|path| path.ends_with(&end));
    let fields = output.as_object()?.iter();
    let mut urls = fields
        .filter(|(field, _)| field.ends_with("_minio_url") || field.ends_with("_minio_urls"))
        .flat_map(|(_, value)| list_texts(value));
    urls.find(is_of_file).map(ToOwned::to_owned)
}

/// Lists the texts of a value: itself, or those of a list or of fields.
fn list_texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::Object(fields) => fields.values().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Reads what a file says; a picture is scaled to `room`, and encoded for the terminal where it has a protocol.
pub async fn read_content(
    client: &Client,
    file: &ResultFile,
    room: (u16, u16),
    terminal: Option<(u64, Pictures)>,
) -> CallAnswer<FileContent> {
    match file.kind {
        FileKind::Picture => read_picture(client, file, room, terminal).await,
        FileKind::Cues => read_cues(client, file).await,
        FileKind::Text => read_text(client, file).await,
        FileKind::Media | FileKind::Other => Ok(FileContent::Unread),
    }
}

async fn read_picture(
    client: &Client,
    file: &ResultFile,
    room: (u16, u16),
    terminal: Option<(u64, Pictures)>,
) -> CallAnswer<FileContent> {
    if file.size > LARGEST_PICTURE {
        let why = format!(
            "the picture has {}, and at most {} are read",
            figures::format_bytes(file.size),
            figures::format_bytes(LARGEST_PICTURE)
        );
        return Err(refuse(why));
    }
    let key = PictureKey {
        file_path: file.file_path.clone(),
        size: file.size,
        room,
    };
    let kept = terminal.as_ref().and_then(|(id, pictures)| pictures.recall(*id, &key));
    if let Some(preview) = kept {
        return Ok(FileContent::Picture(preview));
    }
    let bytes = client.file_start(&file.file_path, LARGEST_PICTURE as usize).await;
    let bytes = bytes.map_err(Refusal::from)?;
    let decoded = tokio::task::spawn_blocking(move || {
        let (preview, picture) = pictures::decode(&bytes, room)?;
        if let Some((id, pictures)) = terminal {
            pictures.keep(id, key, &preview, &picture)?;
        }
        Ok::<_, String>(preview)
    });
    let decoded = decoded.await.unwrap_or_else(|error| Err(error.to_string()));
    decoded.map(FileContent::Picture).map_err(refuse)
}

async fn read_cues(client: &Client, file: &ResultFile) -> CallAnswer<FileContent> {
    let mut list = client.cues(&file.file_path).await.map_err(Refusal::from)?;
    list.cues.truncate(MOST_CUES);
    Ok(FileContent::Cues(Arc::new(list)))
}

/// Reads a text; a transcript of JSON as cues.
async fn read_text(client: &Client, file: &ResultFile) -> CallAnswer<FileContent> {
    let bytes = client.file_start(&file.file_path, LARGEST_TEXT).await;
    let bytes = bytes.map_err(Refusal::from)?;
    let text = String::from_utf8_lossy(&bytes);
    let is_json = file.name.to_ascii_lowercase().ends_with(".json");
    if is_json && is_transcript(&text) {
        // What only resembles one is shown as the text that it is.
        if let Ok(content) = read_cues(client, file).await {
            return Ok(content);
        }
    }
    let is_cut = file.size > bytes.len() as u64;
    Ok(FileContent::Text(TextPreview {
        lines: break_lines(&text, is_json && !is_cut),
        read: bytes.len() as u64,
        is_cut,
    }))
}

/// Whether JSON begins like a transcript.
fn is_transcript(text: &str) -> bool {
    ["\"start\"", "\"end\"", "\"text\""]
        .iter()
        .all(|field| text.contains(field))
}

/// Breaks a text into lines, JSON as it is read best.
fn break_lines(text: &str, is_json: bool) -> Vec<String> {
    let pretty = is_json.then(|| figures::format_json(text)).flatten();
    let text = pretty.as_deref().unwrap_or(text);
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some((at, _)) = rest.char_indices().nth(LINE) {
            lines.push(rest[..at].to_owned());
            rest = &rest[at..];
        }
        lines.push(rest.to_owned());
    }
    lines
}

/// Says why a file is not shown.
fn refuse(why: String) -> Refusal {
    Refusal {
        text: why,
        ..Refusal::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_was_uploaded_has_the_url_of_its_object() {
        let url = "http://s3/bucket/t1/runs/r1/a.wav?X-Amz-Expires=86400";
        let output = json!({"audio_path": "/d/t1/runs/r1/a.wav", "audio_path_minio_url": url});
        assert_eq!(find_object_url(&output, "a.wav").as_deref(), Some(url));
        assert_eq!(find_object_url(&output, "b.wav"), None);
    }

    #[test]
    fn what_the_daemon_has_not_seen_is_listed_as_a_workers() {
        let output = json!({
            "audio_path": "/d/t1/runs/r1/a.wav", "frames": ["/gpu/f/1.jpg", "/gpu/f/1.jpg"], "folder": "/d/t1/runs/r1",
            "source": "/films/in.mp4", "text": "words",
        });
        let file = ResultFile {
            name: "a.wav".into(),
            kind: FileKind::Media,
            size: 1,
            path: "/d/t1/runs/r1/a.wav".into(),
            file_path: "t1/runs/r1/a.wav".into(),
            content_type: String::new(),
            download_url: String::new(),
            object_url: None,
        };
        let inputs = json!({"video_path": "/films/in.mp4"});
        assert_eq!(list_others(&output, &inputs, &[file]), ["/gpu/f/1.jpg"]);
    }

    #[test]
    fn json_is_shown_by_lines_and_a_long_line_in_pieces() {
        assert_eq!(break_lines(r#"{"a":[1]}"#, true).len(), 5);
        assert_eq!(break_lines("{broken", true), ["{broken"]);
        let pieces = break_lines(&"강".repeat(2 * LINE + 1), false);
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.chars().count()).collect();
        assert_eq!(lengths, [LINE, LINE, 1]);
    }

    #[test]
    fn only_json_with_times_and_texts_is_taken_for_a_transcript() {
        assert!(is_transcript(r#"{"segments": [{"start": 1, "end": 2, "text": "a"}]}"#));
        assert!(!is_transcript(r#"{"start": 1, "end": 2}"#));
    }
}
