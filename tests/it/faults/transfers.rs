//! Memory while large files go through the daemon: 31.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use onceover_tests::{Daemon, PATIENCE, S3Server, Tally, eventually};
use reqwest::multipart::{Form, Part};
use serde_json::json;

/// Leaves a file of so many bytes.
const NODE: &str = r#"
[[nodes]]
name = "test.large"
queue = "io"
timeout_seconds = 120
runner = { command = ["python3", "-S", "-c", '''
import json, sys
path = json.load(sys.stdin)["output_dir"] + "/large"
open(path, "wb").truncate(@SIZE@)
print(json.dumps({"type": "output", "output": {"data_file": path}}))
'''] }
"#;

const MIB: usize = 1 << 20;
/// How much more memory the daemon may use while it carries a file.
const ALLOWED: usize = 32 * MIB;

/// A field of `/proc/<pid>/status`, in bytes.
fn memory(pid: i32, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("Linux tells it");
    let kib: usize = line
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .expect("a number");
    kib * 1024
}

/// How much more memory the daemon had at any time while `work` was under way than before it.
async fn growth(daemon: &Daemon, work: impl Future<Output = ()>) -> usize {
    let pid = daemon.pid();
    // The peak begins again.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak can be reset");
    let before = memory(pid, "VmRSS:");
    work.await;
    memory(pid, "VmHWM:").saturating_sub(before)
}

fn chunk(at: usize) -> Bytes {
    let mut chunk = vec![(at % 251) as u8; MIB];
    chunk[..8].copy_from_slice(&(at as u64).to_le_bytes());
    chunk.into()
}

async fn upload(daemon: &Daemon, mib: usize) {
    let body = stream::iter((0..mib).map(|at| Ok::<_, std::io::Error>(chunk(at))));
    let part = Part::stream_with_length(reqwest::Body::wrap_stream(body), (mib * MIB) as u64).file_name("large");
    let url = format!("{}/v1/files/upload?file_path=t1/large.bin", daemon.url());
    let answer = reqwest::Client::new()
        .post(url)
        .multipart(Form::new().part("file", part))
        .send()
        .await;
    let answer = answer.expect("the daemon answers");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
}

async fn download(daemon: &Daemon, mib: usize) {
    let url = format!("{}/v1/files/download/t1/large.bin", daemon.url());
    let answer = reqwest::get(url).await.expect("the daemon answers");
    assert_eq!(answer.status(), 200);
    let mut body = answer.bytes_stream();
    let (mut got, mut expected) = (0, Bytes::new());
    while let Some(bytes) = body.next().await {
        let mut bytes = bytes.expect("it does not break off");
        while !bytes.is_empty() {
            if expected.is_empty() {
                expected = chunk(got / MIB);
            }
            let some = bytes.len().min(expected.len());
            assert!(
                bytes.split_to(some) == expected.split_to(some),
                "other bytes from {got} on"
            );
            got += some;
        }
    }
    assert_eq!(got, mib * MIB);
}

fn size_on_disk(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req31_large_files_go_through_the_daemon_in_little_memory() {
    let tally = Tally::new(
        31,
        "a large file up and down, in the share and in a store: bounded memory",
        1,
        1,
    );
    // 256 MiB, and 2 GiB in a soak.
    let mib = if tally.is_soak() { 2048 } else { 256 };
    while tally.next_round().is_some() {
        let share = Daemon::start().await;
        let s3 = S3Server::start().await;
        let node = NODE.replace("@SIZE@", &(mib * MIB).to_string());
        let mut builder = Daemon::builder().config(&format!("{}{node}", s3.config()));
        for (name, value) in s3.keys() {
            builder = builder.env(name, value);
        }
        let store = builder.start().await;
        for (daemon, what) in [(&share, "share"), (&store, "store")] {
            // Whatever is made once is there.
            daemon.done("warm", "test.file", json!({})).await;
            let warm = Form::new()
                .text("file_path", "warm/up")
                .part("file", Part::bytes(vec![1; 6 * MIB]));
            let url = format!("{}/v1/files/upload", daemon.url());
            assert_eq!(
                reqwest::Client::new()
                    .post(url)
                    .multipart(warm)
                    .send()
                    .await
                    .unwrap()
                    .status(),
                200
            );
            for (way, grown) in [
                ("up", growth(daemon, upload(daemon, mib)).await),
                ("down", growth(daemon, download(daemon, mib)).await),
            ] {
                println!(
                    "{mib} MiB {way}, {what}: {:.1} MiB more memory",
                    grown as f64 / MIB as f64
                );
                tally.check(grown < ALLOWED, || format!("{mib} MiB {way}, {what}: {grown} bytes"));
            }
        }
        assert_eq!(
            size_on_disk(&share.data.join("share/workflows/t1/large.bin")),
            (mib * MIB) as u64
        );
        let grown = growth(&store, async {
            store.submit("t2", "test.large", json!({})).await;
            eventually("the end", || async { store.stage("t2", "test.large").await?.ended_at }).await;
            // Longer than a condition is usually waited for.
            let made = async {
                while s3.objects("t2").is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(20 * PATIENCE, made)
                .await
                .expect("the file gets to the store");
        });
        let grown = grown.await;
        println!("{mib} MiB of a stage: {:.1} MiB more memory", grown as f64 / MIB as f64);
        tally.check(grown < ALLOWED, || format!("{mib} MiB of a stage: {grown} bytes"));
    }
    tally.finish();
}
