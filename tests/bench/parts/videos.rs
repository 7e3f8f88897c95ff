//! From asking for a video's pipeline to the 202, of a clip of a second and of one of an hour.

use std::time::{Duration, Instant};

use onceover_tests::media;
use serde_json::json;

use crate::{
    http::{Connection, request},
    setup::Bench,
    table::{Goal, percentile, spread},
};

pub fn measure(bench: &mut Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let (short, long) = (folder.path().join("short.mp4"), folder.path().join("long.mp4"));
    media::clip(&short, 1);
    media::repeated(&short, 3600, &long);
    let builder = bench.builder("").media_root(folder.path());
    let daemon = bench.runtime.block_on(builder.start());
    let mut client = Connection::open(daemon.port());
    for (video, file) in [("short", &short), ("long", &long)] {
        let body = json!({"video_id": video, "path": file}).to_string();
        client.send(&request("POST", "/api/v1/videos", &body));
    }
    // A processing under way is ended by the next.
    let mut took: [Vec<Duration>; 2] = Default::default();
    for _ in 0..bench.options.rounds() * 10 {
        for (at, video) in ["short", "long"].iter().enumerate() {
            let path = format!("/api/v1/videos/{video}/run_sync?pipeline=sample&force=true");
            let asked = Instant::now();
            let answer = client.send(&request("POST", &path, ""));
            took[at].push(asked.elapsed());
            assert!(answer.contains("\"status\":\"pending\""), "{answer}");
        }
    }
    let table = &mut bench.table;
    let mut all = Vec::new();
    for (name, took) in ["of a second", "of an hour"].iter().zip(&mut took) {
        took.sort();
        let p50 = spread([percentile(took, 50)]);
        table.say(&format!("run_sync of a video {name}, p50"), "ms", p50);
        table.say("  p99", "ms", spread([percentile(took, 99)]));
        all.extend(took.iter().copied());
    }
    all.sort();
    let slowest = spread([percentile(&all, 100)]);
    table.goal("run_sync, the slowest answer", Goal::AtMost(50.0), "ms", slowest);
}
