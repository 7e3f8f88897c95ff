//! Ids, paths and deletes stay below their root and away from other tasks (25). What is swapped while it is opened or
//! removed is in `daemon/run/src/paths/tests.rs`.

use std::{fs, os::unix::fs::symlink, path::Path};

use onceover_tests::{Daemon, HttpAnswer};
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const SUBTITLES: &str = "wservice.generate_subtitle_files";
const SPEAKERS: &str = "pyannote_audio.get_speaker_segments";
const SECRET: &str = "TOP-SECRET-WORDS";

fn transcript(words: &str) -> String {
    json!([{"start": 0.0, "end": 1.0, "text": words}]).to_string()
}

/// Percent-encodes everything, so that a path segment arrives as it is.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The keys in Redis that requests can make.
async fn keys(daemon: &Daemon) -> Vec<String> {
    let mut keys = daemon.keys().await;
    keys.retain(|key| key != "onceover:reaper");
    keys
}

/// Every file below a folder that holds the secret; links are not followed.
fn holds_secret(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        let held = || fs::read(entry.path()).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(SECRET));
        kind.is_dir() && holds_secret(&entry.path()) || kind.is_file() && held()
    })
}

#[tokio::test]
async fn req25_no_id_leaves_its_folder_or_touches_another_task() {
    let daemon = Daemon::start().await;
    for task in ["t1", "t2"] {
        daemon.done(task, ECHO, json!({})).await;
    }
    let outside = daemon.data.join("share/outside");
    fs::create_dir_all(&outside).unwrap();
    let before = keys(&daemon).await;
    let http = reqwest::Client::new();
    let long = "x".repeat(129);
    let ids = [
        "",
        ".",
        "..",
        "../t2",
        "../outside",
        "../../share",
        "t1/../t2",
        "t1/",
        "/t1",
        "t1//t2",
        "./t1",
        "..\\t2",
        "t1\\..",
        "*",
        "t*",
        "t?",
        "t[12]",
        "{t1,t2}",
        "t1*",
        "t1:node",
        "t1:node:test.echo",
        ".t1",
        "-rf",
        "-",
        "_t1",
        "~",
        "$HOME",
        "$(id)",
        "`id`",
        "t1;t2",
        "t1|t2",
        "t1&t2",
        "t1 t2",
        " t1",
        "t1 ",
        "t1\0",
        "\0",
        "t1\n",
        "t1\r\nDEL t2",
        "t1\u{7f}",
        "é",
        "ｔ１",
        "t１",
        "t1\u{202e}",
        "t1\u{200b}",
        "․․",
        "．．",
        "%2e%2e",
        "..%2ft2",
        "t1..t2",
        "t1...",
        "onceover",
        "health",
        "batch",
        "events",
        "supported-tasks",
        "onceover:stage:t1",
        "t1\"",
        "t1'",
        "t1#",
        "t1+t2",
        &long,
    ];
    assert!(ids.len() >= 60, "{} ids", ids.len());
    for id in ids {
        let body = json!({"task_name": ECHO, "task_id": id, "input_data": {}});
        let answer = http.post(format!("{}/v1/tasks", daemon.url())).json(&body).send().await;
        let answer = HttpAnswer::of(answer.unwrap()).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["task_id".to_owned()]),
            "{id:?}"
        );
        for (method, rest) in [
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/delete"),
            ("POST", "/retry"),
            ("GET", "/status"),
        ] {
            let path = format!("/v1/tasks/{}{rest}", encoded(id));
            let mut request = http.request(method.parse().unwrap(), format!("{}{path}", daemon.url()));
            if method == "POST" {
                request = request.json(&json!({"force": true}));
            }
            let status = request.send().await.unwrap().status().as_u16();
            // The reserved words are separate paths, the health is good, and a client drops "." from a path.
            let own = method == "GET" && rest.is_empty() && ["", ".", "health", "supported-tasks"].contains(&id);
            assert!(
                (400..500).contains(&status) || own,
                "{method} {path} ({id:?}): {}",
                status
            );
        }
    }
    assert_eq!(keys(&daemon).await, before);
    assert!(outside.is_dir());
    for task in ["t1", "t2"] {
        assert!(daemon.data.join("share/workflows").join(task).is_dir(), "{task}");
    }
}

#[tokio::test]
async fn req25_no_path_leads_out_of_the_roots() {
    let temp = tempfile::tempdir().unwrap();
    let (media, outside) = (temp.path().join("media"), temp.path().join("outside"));
    for folder in [&media, &outside] {
        fs::create_dir(folder).unwrap();
    }
    let secret = outside.join("secret.json");
    fs::write(&secret, transcript(SECRET)).unwrap();
    fs::write(media.join("fine.json"), transcript("fine")).unwrap();
    let daemon = Daemon::builder().media_root(&media).start().await;
    let (root, out) = (media.display().to_string(), outside.display().to_string());

    // Refused as text, when they are submitted.
    let texts: Vec<String> = [
        "{out}/secret.json",
        "{root}/../outside/secret.json",
        "{root}/./../outside/secret.json",
        "{root}//..//outside/secret.json",
        "{root}/sub/../../outside/secret.json",
        "{root}/..",
        "{root}",
        "{root}/",
        "{root}/.",
        "/",
        "//",
        ".",
        "..",
        "~",
        "~/secret.json",
        "./secret.json",
        "../outside/secret.json",
        "share/secret.json",
        "share/workflows/../outside/secret.json",
        "-i",
        "--",
        "$HOME/x",
        "file://{out}/secret.json",
        "file:{out}/secret.json",
        "file:///{root}/fine.json",
        "{root}x/secret.json",
        "{out}/../outside/secret.json",
        "/proc/self/root{out}/secret.json",
        "/proc/self/cwd",
        "/proc/1/root{out}/secret.json",
        "/proc/self/environ",
        "/proc/thread-self/root{out}/secret.json",
        "/dev/stdin",
        "/dev/fd/0",
        "/etc/passwd",
        "{root}/fine.json\0",
        "\0{out}/secret.json",
        "{root}\0/../outside/secret.json",
        "s3://bucket/secret.json",
        "minio://bucket/secret.json",
        "ftp://example.org/x",
        "data:application/json,[]",
        "\\\\host\\share",
        "C:\\secret.json",
    ]
    .iter()
    .map(|text| text.replace("{root}", &root).replace("{out}", &out))
    .collect();
    for text in &texts {
        let body = json!({"task_name": SUBTITLES, "task_id": "texts", "input_data": {"segments_file": text}});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.segments_file".to_owned()]),
            "{text:?}"
        );
    }

    // Refused when they are opened.
    let link = |name: &str, to: &str| symlink(to, media.join(name)).unwrap();
    link("file.json", &secret.display().to_string());
    link("relative.json", "../outside/secret.json");
    link("folder", &out);
    link("up", "..");
    link("again.json", "file.json");
    link("through.json", "folder/secret.json");
    link("root.json", &format!("/proc/self/root{out}/secret.json"));
    link("proc", "/proc/self/root");
    link("cwd", "/proc/self/cwd");
    link("fd.json", "/proc/self/fd/0");
    link("environ.json", "/proc/self/environ");
    link("dangling.json", "nowhere.json");
    link("loop.json", "loop.json");
    link("slash", "/");
    fs::create_dir(media.join("dir.json")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        media.join("pipe.json"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(media.join("socket.json")).unwrap();
    let opened: Vec<String> = [
        "file.json",
        "relative.json",
        "folder/secret.json",
        "up/outside/secret.json",
        "again.json",
        "through.json",
        "root.json",
        "proc{out}/secret.json",
        "cwd/Cargo.toml",
        "fd.json",
        "environ.json",
        "dangling.json",
        "loop.json",
        "slash{out}/secret.json",
        "dir.json",
        "pipe.json",
        "socket.json",
        "*.json",
        "fin?.json",
        "[f]ine.json",
        "{fine,x}.json",
        "%66ine.json",
        "．．/outside/secret.json",
        "․․/outside/secret.json",
        "%2e%2e/outside/secret.json",
        "fine.json/../fine",
        "fine.json/x",
        "FINE.json",
        "fine.json ",
        "fine.json\n",
        "\u{202e}fine.json",
        "fine.json\u{200b}",
    ]
    .iter()
    .map(|name| format!("{root}/{}", name.replace("{out}", &out)))
    .filter(|path| !path.contains("/../"))
    .chain([
        format!("{root}/{}", "x/".repeat(3000)),
        format!("{root}/{}", "y".repeat(300)),
        // Below the task's folder, which has no such files.
        "secret.json".into(),
        "media/fine.json".into(),
        "share/workflows/texts/secret.json".into(),
    ])
    .collect();
    for path in &opened {
        let body = json!({"task_name": SUBTITLES, "task_id": "opened", "input_data": {"segments_file": path}});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.segments_file".to_owned()]),
            "{path:?}"
        );
    }
    assert!(texts.len() + opened.len() >= 60, "{} paths", texts.len() + opened.len());
    assert!(!holds_secret(&daemon.data));
    // A relative path is one below the task's folder.
    let share = daemon.data.join("share/workflows");
    fs::create_dir_all(share.join("near/notes")).unwrap();
    fs::write(share.join("near/notes/talk.json"), transcript("near")).unwrap();
    for (task, path) in [
        ("near", "notes/talk.json"),
        ("far", "share/workflows/near/notes/talk.json"),
    ] {
        let stage = daemon.done(task, SUBTITLES, json!({"segments_file": path})).await;
        assert!(stage.output.get().contains("talk.srt"), "{path}");
    }
    symlink(&secret, share.join("near/secret.json")).unwrap();
    let body = json!({"task_name": SPEAKERS, "task_id": "near", "input_data": {"diarization_file": "secret.json"}});
    assert_eq!(
        daemon.post("/v1/tasks", body).await.fields(),
        ["input_data.diarization_file"]
    );
    // What a link inside leads to may be read.
    link("inside.json", "fine.json");
    daemon
        .done("fine", SUBTITLES, json!({"segments_file": media.join("inside.json")}))
        .await;
}

#[tokio::test]
async fn req25_deleting_a_task_follows_no_link() {
    let daemon = Daemon::start().await;
    let temp = tempfile::tempdir().unwrap();
    let kept = temp.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("a"), "x").unwrap();
    for task in ["t1", "t2", "t3"] {
        daemon.done(task, ECHO, json!({})).await;
    }
    let share = daemon.data.join("share/workflows");
    symlink(&kept, share.join("t1/link")).unwrap();
    symlink(kept.join("a"), share.join("t1/file")).unwrap();
    symlink("../t2", share.join("t1/sibling")).unwrap();
    symlink("/proc/self/cwd", share.join("t1/cwd")).unwrap();
    symlink("..", share.join("t1/runs/up")).unwrap();
    fs::create_dir_all(share.join("t1/deep").join("d/".repeat(200))).unwrap();
    let report = daemon.post("/v1/tasks/t1/delete", json!({})).await.json();
    assert_eq!(report["results"][0]["status"], "deleted", "{report}");
    assert!(!share.join("t1").exists());

    // The folder itself is a link.
    fs::rename(share.join("t3"), temp.path().join("t3")).unwrap();
    symlink(&kept, share.join("t3")).unwrap();
    let report = daemon.post("/v1/tasks/t3/delete", json!({})).await.json();
    assert_eq!(report["results"][0]["status"], "failed", "{report}");
    assert_eq!(fs::read_to_string(kept.join("a")).unwrap(), "x");
    assert!(share.join("t2/runs").is_dir());
    let view: Value = daemon.get("/v1/tasks/t2").await.json();
    assert_eq!(view["status"], "completed");
}
