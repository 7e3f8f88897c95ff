//! Inputs that are URLs: fetched from allowed addresses only, within their limits, and gone after the run (25).

use std::{fs, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use futures_util::{StreamExt, stream};
use onceover_tests::{Daemon, eventually, hooks::Trap, media};
use onceover_types::StageState;
use serde_json::json;
use tokio::net::TcpListener;

const AUDIO: &str = "ffmpeg.extract_audio";

/// Serves a clip, and what a server should not, on an address of this machine.
async fn serve(clip: Vec<u8>, trap: u16) -> String {
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |Path(what): Path<String>| {
        let clip = clip.clone();
        async move {
            let trickle = |bytes: usize| {
                let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes]))]);
                Body::from_stream(first.chain(stream::pending()))
            };
            let to = |place: &str| Redirect::temporary(place).into_response();
            match what.as_str() {
                "clip.mp4" => clip.into_response(),
                "missing" => StatusCode::NOT_FOUND.into_response(),
                "moved" => to("/clip.mp4"),
                "loop" => to("/loop"),
                "inside" => to(&format!("http://127.0.0.1:{trap}/")),
                "inside-name" => to(&format!("http://localhost:{trap}/")),
                "file" => to("file:///etc/passwd"),
                "nowhere" => StatusCode::FOUND.into_response(),
                "large" => vec![0; 3_000_000].into_response(),
                "endless" => Body::from_stream(stream::repeat_with(|| {
                    Ok::<_, std::io::Error>(Bytes::from(vec![0; 65536]))
                }))
                .into_response(),
                "partial" => (StatusCode::PARTIAL_CONTENT, clip).into_response(),
                _ => Response::new(trickle(10)),
            }
        }
    };
    let app = Router::new().route("/{what}", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn start(timeout: &str) -> Daemon {
    Daemon::builder()
        .config(&format!(
            "[inputs]\nallow = ['127.0.0.2']\nmax_bytes = 2_000_000\ntimeout = '{timeout}'"
        ))
        .start()
        .await
}

#[tokio::test]
async fn req25_an_input_is_downloaded_only_from_where_it_may_come_and_within_its_limits() {
    let trap = Trap::set().await;
    let daemon = start("3s").await;
    let clip = daemon.dir().join("clip.mp4");
    media::clip(&clip, 1);
    let url = serve(fs::read(clip).unwrap(), trap.port()).await;
    for (index, good) in ["clip.mp4?key=hidden", "moved"].into_iter().enumerate() {
        let task = format!("good-{index}");
        let stage = daemon
            .done(&task, AUDIO, json!({"video_path": format!("{url}/{good}")}))
            .await;
        let output: serde_json::Value = serde_json::from_str(stage.output.get()).unwrap();
        let audio = std::path::PathBuf::from(output["audio_path"].as_str().unwrap());
        assert!(audio.is_file(), "{}", audio.display());
        assert!(
            !audio.ancestors().nth(2).unwrap().join("inputs").exists(),
            "the download was removed"
        );
        let log = daemon.get(&format!("/v1/tasks/{task}/stages/{AUDIO}/log")).await.text;
        assert!(
            log.contains("downloading http://127.0.0.2") && !log.contains("hidden"),
            "{log}"
        );
    }
    for (bad, why) in [
        ("missing", "404"),
        ("partial", "206"),
        ("loop", "more than 5 times"),
        ("inside", "inputs.allow"),
        ("inside-name", "inputs.allow"),
        ("file", "http:// or https://"),
        ("nowhere", "without a place"),
        ("large", "larger than 1.91 MiB"),
        ("endless", "larger than 1.91 MiB"),
        ("stalls", "inputs.timeout"),
    ] {
        daemon
            .submit(bad, AUDIO, json!({"video_path": format!("{url}/{bad}?key=hidden")}))
            .await;
        let stage = daemon.until_ended(bad, AUDIO).await;
        let error = stage.error.unwrap_or_default();
        assert!(
            error.starts_with("input_data.video_path: cannot download")
                && error.contains(why)
                && !error.contains("hidden"),
            "{bad}: {error}"
        );
        let runs = daemon.data.join("share/workflows").join(bad).join("runs");
        let run = runs.join(stage.run_id.unwrap().as_str());
        assert!(run.is_dir() && !run.join("inputs").exists(), "{bad}");
    }
    for (address, word) in [
        (format!("http://127.0.0.1:{}/a.mp4", trap.port()), "inputs.allow"),
        (format!("HTTP://localhost:{}/a.mp4", trap.port()), "inputs.allow"),
        ("http://169.254.169.254/latest/meta-data".into(), "inputs.allow"),
        ("http://[::1]/a.mp4".into(), "inputs.allow"),
        ("http://user:word@127.0.0.2/a.mp4".into(), "user name"),
        ("s3://bucket/a.mp4".into(), "s3:// is not supported"),
        ("minio://bucket/a.mp4".into(), "minio:// is not supported"),
    ] {
        let body = json!({"task_name": AUDIO, "input_data": {"video_path": address}});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.video_path".to_owned()]),
            "{address}"
        );
        assert!(answer.text.contains(word), "{}", answer.text);
    }
    assert_eq!(trap.caught(), 0);
    for limit in ["input_time", "redirects", "downloaded_input"] {
        assert!(daemon.times_reached(limit).await > 0, "{limit}");
    }
}

#[tokio::test]
async fn req25_a_download_is_cancelled_with_its_run() {
    let daemon = start("10m").await;
    let url = serve(Vec::new(), 9).await;
    daemon
        .submit("t1", AUDIO, json!({"video_path": format!("{url}/stalls")}))
        .await;
    eventually("the download", || async {
        let stage = daemon.stage("t1", AUDIO).await?;
        stage.message.filter(|message| message.contains("downloading"))
    })
    .await;
    assert_eq!(daemon.call("DELETE", "/v1/tasks/t1", None).await.status, 200);
    let stage = daemon.until("t1", AUDIO, StageState::Cancelled).await;
    let run = daemon
        .data
        .join("share/workflows/t1/runs")
        .join(stage.run_id.unwrap().as_str());
    eventually("the end of it", || async {
        (!run.join("inputs").exists()).then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(5), daemon.idle())
        .await
        .expect("the slot is free");
}
