//! `/v1/files` for those who look at results: a file as its cues, and the disk beside an object store.

use std::fs;

use onceover_tests::{Daemon, HttpAnswer, S3Server};
use reqwest::multipart::{Form, Part};
use serde_json::json;

const OVERLAPPING: &str = "1\n00:00:01,000 --> 00:00:03,000\nA <i>good</i> line.\n\n\
    2\n00:00:02,500 --> 00:00:03,500\n\u{d55c}\u{ad6d}\u{c5b4}\n\n\
    3\n00:00:05,000 --> 00:00:06,000\nSo many letters that nobody reads it\n";

/// A daemon that keeps files in an object store, which lives as long as the second.
async fn start_with_store() -> (Daemon, S3Server) {
    let s3 = S3Server::start().await;
    let mut builder = Daemon::builder().config(&s3.config());
    for (name, value) in s3.keys() {
        builder = builder.env(name, value);
    }
    (builder.start().await, s3)
}

async fn upload(daemon: &Daemon, path: &str, bytes: Vec<u8>) {
    let file = Part::bytes(bytes).file_name("any name.bin");
    let form = Form::new().text("file_path", path.to_owned()).part("file", file);
    let request = reqwest::Client::new().post(format!("{}/v1/files/upload", daemon.url()));
    let answer = HttpAnswer::of(request.multipart(form).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn answers_as_cues(daemon: &Daemon) {
    upload(daemon, "t1/in/film.srt", OVERLAPPING.as_bytes().to_vec()).await;
    upload(daemon, "t1/in/picture.bin", vec![0, 1, 2, 3]).await;
    upload(daemon, "t1/in/long.srt", vec![b' '; (8 << 20) + 1]).await;
    let get = async |path: &str| daemon.get(&format!("/v1/files/download/{path}")).await;
    let list = get("t1/in/film.srt?as=cues").await.json();
    assert_eq!(list["cues"].as_array().unwrap().len(), 3);
    assert_eq!((&list["overlaps"], &list["too_fast"]), (&json!(1), &json!(1)));
    assert_eq!(
        list["cues"][1],
        json!({"start": 2.5, "end": 3.5, "text": "\u{d55c}\u{ad6d}\u{c5b4}", "characters_per_second": 6.0, "gap": -0.5})
    );
    for query in ["t1/in/picture.bin?as=cues", "t1/in/film.srt?as=words"] {
        let answer = get(query).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["as".to_owned()]),
            "{query}"
        );
    }
    assert_eq!(get("t1/in/none.srt?as=cues").await.status, 404);
    let answer = get("t1/in/long.srt?as=cues").await;
    assert_eq!((answer.status, answer.problem()), (413, "too-large".to_owned()));
}

#[tokio::test]
async fn a_file_is_answered_as_cues_and_one_that_is_none_or_too_large_says_so() {
    let share = Daemon::start().await;
    let (store, _s3) = start_with_store().await;
    for daemon in [&share, &store] {
        answers_as_cues(daemon).await;
        assert_eq!(daemon.times_reached("cue_file").await, 1);
    }
}

#[tokio::test]
async fn files_of_the_disk_are_read_also_where_there_is_an_object_store() {
    let (daemon, _s3) = start_with_store().await;
    let folder = daemon.data.join("share/workflows/t9/runs/r1/frames");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("1.jpg"), "a frame").unwrap();
    let of_store = daemon.get("/v1/files?prefix=t9").await.json();
    assert_eq!(of_store["files"], json!([]), "the store has none of it");
    let of_disk = daemon.get("/v1/files?prefix=t9&disk=true").await.json();
    assert_eq!(of_disk["files"][0]["file_path"], "t9/runs/r1/frames/1.jpg");
    let url = of_disk["files"][0]["download_url"].as_str().unwrap();
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
        (200, "a frame")
    );
    let hidden = daemon.get("/v1/files/download/.incoming/x?disk=true").await;
    assert_eq!(hidden.status, 422, "what is being received is for nobody");
}
