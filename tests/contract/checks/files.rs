//! 5 Files and 11 object storage.

use std::sync::Arc;

use reqwest::{Method, header, multipart};
use serde_json::{Value, json};

use super::{AUDIO, MERGE, merge_input};
use crate::{
    check::{Check, Played, Stop, check, differs, same},
    listener::silence,
    world::World,
};

const TEXT: &str = "some words of a file";

pub fn checks() -> Vec<Check> {
    vec![
        check("5 a file is uploaded to a path of the query", upload),
        check("5 an upload may name its bucket", upload_to_a_bucket),
        check("5 the download_url of an upload gives the file", download_url),
        check("5 an upload without a path is refused", upload_without_a_path),
        check("5 the path of an upload may be a field of the form", upload_by_form),
        check("5 an upload to a bad path is refused", upload_to_a_bad_path),
        check("5 an empty file is refused", upload_nothing),
        check("5 a file is downloaded", download),
        check("5 a download may name its bucket", download_from_a_bucket),
        check("5 a missing file is not found", download_missing),
        check("5 a download of a bad path is refused", download_bad_path),
        check("5 a part of a file can be had", download_part),
        check("5 a file is deleted", delete),
        check("5 deleting a file that is not there succeeds", delete_missing),
        check("5 a delete of a bad path is refused", delete_bad_path),
        check("5 a folder of a task is deleted", delete_folder),
        check("5 deleting a folder that is not there succeeds", |world| {
            delete_no_folder(world, "/share/workflows")
        }),
        check("5 a folder may be named without a slash before it", |world| {
            delete_no_folder(world, "share/workflows")
        }),
        check("5 a folder elsewhere cannot be deleted", |world| {
            refused_folder(world, "/etc", 400)
        }),
        check("5 a folder with dots cannot be deleted", |world| {
            refused_folder(world, "/share/workflows/contract-x/../y", 400)
        }),
        check("5 the share itself cannot be deleted", |world| {
            refused_folder(world, "/share/", 200)
        }),
        check("5 a task's whole folder cannot be deleted", |world| {
            refused_folder(world, "/share/workflows/contract-nobody", 200)
        }),
        check("5 files can be listed", list),
        check("5 a bucket that is none is refused", wrong_bucket),
        check("11 an uploaded object is an input by its minio URL", object_as_input),
        check("11 the output has the URL of its file", output_url),
        check("11 minio_files lists what was uploaded", minio_files),
        check("11 a URL of an object is percent-encoded", encoded),
        check("11 delete removes the objects", delete_objects),
    ]
}

/// Uploads a text as a file of a new task, and returns its path.
async fn uploaded(world: &World) -> Result<String, Stop> {
    let path = format!("{}/in/words.txt", world.task("file"));
    let answer = world.upload(&[("file_path", &path)], TEXT.into(), "words.txt").await?;
    match answer["http"] == 200 {
        true => Ok(path),
        false => Err(Stop::Broken(format!("the upload was answered {answer}"))),
    }
}

fn upload_answer(path: &str) -> Value {
    json!({"http": 200, "body": {
        "file_path": path, "bucket": "yivideo", "download_url": "<begins http>", "size": TEXT.len(),
        "uploaded_at": "<time>", "content_type": "<begins text/plain>",
    }})
}

async fn upload(world: Arc<World>) -> Played {
    let path = format!("{}/in/words.txt", world.task("upload"));
    let answer = world.upload(&[("file_path", &path)], TEXT.into(), "words.txt").await?;
    same(answer, upload_answer(&path))
}

async fn upload_to_a_bucket(world: Arc<World>) -> Played {
    let path = format!("{}/in/words.txt", world.task("upload"));
    let query = [("file_path", path.as_str()), ("bucket", "yivideo")];
    same(
        world.upload(&query, TEXT.into(), "words.txt").await?,
        upload_answer(&path),
    )
}

async fn download_url(world: Arc<World>) -> Played {
    let path = format!("{}/in/words.txt", world.task("upload"));
    let answer = world.upload(&[("file_path", &path)], TEXT.into(), "words.txt").await?;
    let url = answer["body"]["download_url"].as_str().unwrap_or_default().to_owned();
    same(world.open_url(&url).await?, json!({"http": 200, "body": TEXT}))
}

async fn upload_without_a_path(world: Arc<World>) -> Played {
    same(
        world.upload(&[], TEXT.into(), "words.txt").await?,
        json!({"http": 422, "body": {"detail": "<any>"}}),
    )
}

async fn upload_by_form(world: Arc<World>) -> Played {
    let path = format!("{}/in/words.txt", world.task("upload"));
    let form = multipart::Form::new()
        .text("file_path", path.clone())
        .part("file", multipart::Part::text(TEXT).file_name("words.txt"));
    let answer = world
        .send(world.request(Method::POST, "/v1/files/upload").multipart(form))
        .await?;
    differs(answer, json!({"http": 422}), upload_answer(&path))
}

async fn upload_to_a_bad_path(world: Arc<World>) -> Played {
    differs(
        world
            .upload(&[("file_path", "../contract-x/words.txt")], TEXT.into(), "words.txt")
            .await?,
        json!({"http": 500}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "file_path"}}}}),
    )
}

async fn upload_nothing(world: Arc<World>) -> Played {
    let path = format!("{}/in/nothing.txt", world.task("upload"));
    differs(
        world.upload(&[("file_path", &path)], Vec::new(), "nothing.txt").await?,
        json!({"http": 500}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "file"}}}}),
    )
}

fn download_answer() -> Value {
    json!({
        "http": 200, "body": TEXT,
        "headers": {"content-type": "<begins text/plain>", "content-disposition": "<contains words.txt>"},
    })
}

async fn download(world: Arc<World>) -> Played {
    let path = uploaded(&world).await?;
    same(
        world.get(&format!("/v1/files/download/{path}")).await?,
        download_answer(),
    )
}

async fn download_from_a_bucket(world: Arc<World>) -> Played {
    let path = uploaded(&world).await?;
    same(
        world.get(&format!("/v1/files/download/{path}?bucket=yivideo")).await?,
        download_answer(),
    )
}

async fn download_missing(world: Arc<World>) -> Played {
    let answer = world
        .get(&format!("/v1/files/download/{}/in/gone.txt", world.task("nobody")))
        .await?;
    differs(
        answer,
        json!({"http": 500}),
        json!({"http": 404, "body": {"detail": "<text>"}}),
    )
}

async fn download_bad_path(world: Arc<World>) -> Played {
    let answer = world.get("/v1/files/download/contract-x%2F..%2Fy").await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "file_path"}}}}),
    )
}

async fn download_part(world: Arc<World>) -> Played {
    let path = uploaded(&world).await?;
    let request = world
        .request(Method::GET, &format!("/v1/files/download/{path}"))
        .header(header::RANGE, "bytes=5-9");
    differs(
        world.send(request).await?,
        json!({"http": 200, "body": TEXT}),
        json!({"http": 206, "body": TEXT[5..10]}),
    )
}

async fn delete(world: Arc<World>) -> Played {
    let path = uploaded(&world).await?;
    let answer = world.delete(&format!("/v1/files/{path}?bucket=yivideo")).await?;
    let after = world.get(&format!("/v1/files/download/{path}")).await?;
    same(
        json!({"delete": answer, "is there": after["http"] == 200}),
        json!({
            "delete": {"http": 200, "body": {"success": true, "message": "<text>", "file_path": path}},
            "is there": false,
        }),
    )
}

async fn delete_missing(world: Arc<World>) -> Played {
    let answer = world
        .delete(&format!("/v1/files/{}/in/gone.txt", world.task("nobody")))
        .await?;
    same(
        answer,
        json!({"http": 200, "body": {"success": true, "message": "<text>"}}),
    )
}

async fn delete_bad_path(world: Arc<World>) -> Played {
    let answer = world.delete("/v1/files/contract-x%2F..%2Fy").await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "file_path"}}}}),
    )
}

async fn delete_folder(world: Arc<World>) -> Played {
    let task = world.task("folder");
    let media = world.media(&task, "clip.wav").await?;
    world.done(&task, AUDIO, json!({"video_path": media})).await?;
    let folder = format!("/share/workflows/{task}/runs");
    let answer = world
        .delete(&format!("/v1/files/directories?directory_path={folder}"))
        .await?;
    same(
        answer,
        json!({"http": 200, "body": {"success": true, "message": "<text>", "file_path": folder, "file_size": "<any>"}}),
    )
}

async fn delete_no_folder(world: Arc<World>, below: &'static str) -> Played {
    let folder = format!("{below}/{}/cropped", world.task("nobody"));
    let answer = world
        .delete(&format!("/v1/files/directories?directory_path={folder}"))
        .await?;
    same(
        answer,
        json!({"http": 200, "body": {"success": true, "message": "<text>", "file_path": folder, "file_size": null}}),
    )
}

async fn refused_folder(world: Arc<World>, folder: &'static str, older: u16) -> Played {
    differs(
        world
            .delete(&format!("/v1/files/directories?directory_path={folder}"))
            .await?,
        json!({"http": older}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "directory_path"}}}}),
    )
}

async fn list(world: Arc<World>) -> Played {
    let path = uploaded(&world).await?;
    let folder = path.trim_end_matches("/words.txt");
    differs(
        world.get(&format!("/v1/files?prefix={folder}")).await?,
        json!({"http": "<any>", "body": {"files": "<absent>"}}),
        json!({"http": 200, "body": {"bucket": "yivideo", "files": {"<some>": {"file_path": path, "size": TEXT.len()}}}}),
    )
}

async fn wrong_bucket(world: Arc<World>) -> Played {
    let path = format!("{}/in/words.txt", world.task("bucket"));
    differs(
        world
            .upload(
                &[("file_path", &path), ("bucket", "No_Bucket")],
                TEXT.into(),
                "words.txt",
            )
            .await?,
        json!({"http": 500}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "bucket"}}}}),
    )
}

async fn object_as_input(world: Arc<World>) -> Played {
    world.needs_store()?;
    let task = world.task("object");
    let key = format!("{task}/in/clip.wav");
    world.upload(&[("file_path", &key)], silence(), "clip.wav").await?;
    let input = json!({"video_path": format!("minio://yivideo/{key}")});
    same(
        world.done(&task, AUDIO, input).await?,
        json!({"body": {"result": {"status": "SUCCESS", "output": {"audio_path": "<ends clip.wav>"}, "error": null}}}),
    )
}

/// Has sound extracted from a file of this name, and returns the status once the sound is at the store.
async fn stored(world: &World, name: &str) -> Result<(String, Value), Stop> {
    world.needs_store()?;
    let task = world.task("store");
    let media = world.media(&task, name).await?;
    world.submit(&task, AUDIO, json!({"video_path": media})).await?;
    let status = world.status_that(&task, |status| {
        let result = &status["body"]["result"];
        result["status"] == "FAILED" || result["output"]["audio_path_minio_url"].is_string()
    });
    let status = status.await?;
    Ok((task, status))
}

async fn output_url(world: Arc<World>) -> Played {
    let (task, status) = stored(&world, "clip.wav").await?;
    let url = format!("<contains /yivideo/{task}/>");
    same(
        status,
        json!({"body": {"result": {"status": "SUCCESS", "output": {"audio_path": "<ends .wav>", "audio_path_minio_url": url}}}}),
    )
}

async fn minio_files(world: Arc<World>) -> Played {
    let (_, status) = stored(&world, "clip.wav").await?;
    let file = json!({"name": "<text>", "url": "<begins http>", "type": "<text>", "size": "<number>"});
    differs(
        status,
        json!({"body": {"minio_files": null}}),
        json!({"http": 200, "body": {"minio_files": {"<each>": file}}}),
    )
}

async fn encoded(world: Arc<World>) -> Played {
    let (_, status) = stored(&world, "a clip.wav").await?;
    let output = &status["body"]["result"]["output"];
    let url = output["audio_path_minio_url"].as_str().unwrap_or_default();
    if !output["audio_path"].as_str().unwrap_or_default().contains(' ') {
        return Err(Stop::Skipped("the name of the media file has no blank".into()));
    }
    differs(
        json!({"url": url}),
        json!({"url": "<contains  >"}),
        json!({"url": "<contains %20>"}),
    )
}

async fn delete_objects(world: Arc<World>) -> Played {
    let (task, _) = stored(&world, "clip.wav").await?;
    world.submit(&task, MERGE, merge_input()).await?;
    world.ended(&task).await?;
    let answer = world
        .post(&format!("/v1/tasks/{task}/delete"), &json!({"force": true}))
        .await?;
    same(
        answer["body"]["results"][2].clone(),
        json!({"resource": "minio", "status": "deleted", "details": {"deleted": "<number>", "total": "<number>"}}),
    )
}
