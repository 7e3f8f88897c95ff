//! What happens to tasks, so that every script is run: runs that end in every way, with as many callbacks as may wait and an
//! input as large as may be; stages of other workers; uploads; videos; and the deletion of all of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use onceover_types::{CallbackStatus, NodeName, RunId, RunnerKind, StageState, TaskId, Timestamp};
use onceover_wire::{Event, EventKind, Processing, ProcessingStatus, Video};
use serde_json::json;

use super::{
    super::{
        Adoption, Contact, Decision, DeliveryPatience, DirectoryLease, DiskUsage, EndsTold, Fence, ForeignNote, Hit,
        HitRequest, LostStage, MinuteCounts, Outcome, Reap, Recorded, ReuseQuery, ReuseRule, ReusedResult, Room,
        StageRecord, Submit, SubmitRefusal, TaskFilter, Tried, UploadNote, VideoForgotten, VideoStart, Watching,
        decide::GatheredEvidence, outbox::DeliveryFilter, runs::Evidence,
    },
    Bed, dispatches,
    hits::hit_once,
};

/// Callbacks that may wait for one run.
pub const MOST: u64 = 10_000;
pub const NODES: [&str; 3] = ["a.one", "a.two", "a.three"];
const DIRECTORY: &str = "5f0e";
const OWNER: &str = "owner#1";
const PATIENCE: DeliveryPatience = DeliveryPatience {
    breaker_after: 50,
    breaker_wait: Duration::from_secs(30),
    hold: Duration::from_secs(60),
    longest: Duration::from_secs(3600),
};

/// How large a life is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Callbacks that wait for a run.
    callbacks: u64,
    /// Bytes of an input, and of an output.
    text: usize,
    is_largest: bool,
}

impl Size {
    pub fn small() -> Self {
        Self {
            callbacks: 3,
            text: 100,
            is_largest: false,
        }
    }

    pub fn largest() -> Self {
        Self {
            callbacks: MOST,
            text: (4 << 20) - 20,
            is_largest: true,
        }
    }
}

fn task(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// A request, as far as it differs.
pub(super) struct Wish<'a> {
    pub(super) task: &'a TaskId,
    pub(super) node: &'a NodeName,
    pub(super) queue: &'a str,
    pub(super) mode: ReuseRule,
    pub(super) input: &'a str,
    pub(super) url: Option<&'a str>,
}

pub(super) async fn submit(bed: &Bed, wish: Wish<'_>) -> Decision {
    let run = RunId::generate();
    let delivery = format!("hit-{}", RunId::generate());
    let request = Submit {
        question: ReuseQuery {
            task: wish.task,
            node: wish.node,
            mode: wish.mode,
            fingerprint: "fp",
            files: None,
        },
        run: &run,
        queue: wish.queue,
        runner: RunnerKind::Builtin,
        input: wish.input,
        input_public: wish.input,
        path: "/share",
        callback: wish.url,
        callback_host: wish.url.map(|_| "host"),
        delivery: &delivery,
        sources: &[],
        has_files: false,
        needs: &[],
        unable: false,
        key: None,
        pipeline: None,
    };
    bed.store.submit(&request, &GatheredEvidence::default()).await.unwrap()
}

/// What an owner knows that runs nothing.
fn share() -> crate::QueueShare {
    crate::QueueShare {
        slots: 4,
        running: Vec::new(),
    }
}

pub(super) async fn claim(bed: &Bed) -> Fence {
    let mut claims = bed.store.claim("io", OWNER, &share(), 1).await.unwrap();
    claims.runs.pop().expect("a run waits").fence
}

pub(super) fn success(output: &str, upload: bool) -> Outcome {
    Outcome::Success {
        output: output.into(),
        reusable: true,
        artifacts: "[]".into(),
        upload: upload.then(|| DIRECTORY.into()),
        evidence: Evidence::default(),
        warnings: Vec::new(),
    }
}

pub(super) fn failure(error: &str) -> Outcome {
    Outcome::Failed {
        error: error.into(),
        took: Vec::new(),
    }
}

fn text(size: Size) -> String {
    format!(r#"{{"text":"{}"}}"#, "x".repeat(size.text))
}

/// Lets as many callbacks wait as may: the first few were asked for, the others are added.
async fn add_callbacks(bed: &Bed, key: &str, size: Size) {
    let have: u64 = bed.ask(&["HLEN", key]).await;
    let urls: Vec<_> = (have..size.callbacks)
        .map(|at| format!("http://host/more/{at}"))
        .collect();
    for some in urls.chunks(1000) {
        let mut words = vec!["HSET", key];
        for url in some {
            words.extend([url.as_str(), r#"["joined","host"]"#]);
        }
        let _: u64 = bed.ask(&words).await;
    }
}

/// Fails unless all callbacks are in the outbox and the end of the stage is complete.
async fn assert_delivered(bed: &Bed, stage: (&TaskId, &NodeName), state: &str, count: u64) {
    while bed.store.tell().await.unwrap() == EndsTold::Some {}
    let (task, node) = stage;
    let deliveries: u64 = bed.ask(&["ZCARD", &format!("onceover:task:{task}:deliveries")]).await;
    assert_eq!(deliveries, count, "deliveries of {task}");
    let stage = format!("onceover:stage:{task}:{node}");
    let found: String = bed.ask(&["HGET", &stage, "state"]).await;
    let ttl: i64 = bed.ask(&["TTL", &stage]).await;
    assert!(found == state && ttl > 0, "{stage} is {found} with TTL {ttl}");
    for index in ["running", "pending"] {
        let score: Option<f64> = bed
            .ask(&["ZSCORE", &format!("onceover:tasks:status:{index}"), task.as_str()])
            .await;
        assert_eq!(score, None, "{task} is still {index}");
    }
}

/// Drives every script.
pub async fn live(bed: &Bed, size: Size) {
    run_to_success(bed, size).await;
    run_again(bed, size).await;
    dispatches::live(bed, &text(size)).await;
    deliver(bed).await;
    read(bed).await;
    others(bed, size).await;
    videos(bed).await;
    end(bed).await;
}

async fn run_to_success(bed: &Bed, size: Size) {
    let (task, node) = (task("t1"), node(NODES[0]));
    let input = text(size);
    let wish = |url| Wish {
        task: &task,
        node: &node,
        queue: "io",
        mode: ReuseRule::Auto,
        input: &input,
        url: Some(url),
    };
    assert!(matches!(
        submit(bed, wish("http://host/first")).await,
        Decision::Started { .. }
    ));
    assert!(matches!(
        submit(bed, wish("http://host/joined")).await,
        Decision::Joined { .. }
    ));
    add_callbacks(bed, &format!("onceover:callbacks:{task}:{node}"), size).await;
    if size.is_largest {
        assert!(matches!(
            submit(bed, wish("http://host/surplus")).await,
            Decision::Refused(SubmitRefusal::TooManyCallbacks)
        ));
    }
    let fence = claim(bed).await;
    assert!(bed.store.heartbeat(&fence, Some(5.0), Some("half way")).await.unwrap());
    let mut measured = DiskUsage::default();
    measured.add(fence.folder(), 10);
    assert!(
        bed.store
            .finish(&fence, &success(&text(size), true), &measured, Some(&share()))
            .await
            .unwrap()
            .counts
    );
    let (due, _) = bed.store.upload_take(DIRECTORY, 4, std::iter::empty()).await.unwrap();
    let id = due[0].id.clone();
    assert!(
        bed.store
            .upload_note(&id, &UploadNote::Planned(&["key".into()]))
            .await
            .unwrap()
    );
    assert!(
        !bed.store
            .upload_later(DIRECTORY, &id, Duration::ZERO, "no store")
            .await
            .unwrap()
    );
    let fields = r#""file_url":"http://store/x""#;
    assert!(
        bed.store
            .upload_done(DIRECTORY, &id, fields, r#"{"key":"key"}"#)
            .await
            .unwrap()
    );
    bed.store.upload_forget(DIRECTORY, &id).await.unwrap();
    assert_delivered(bed, (&task, &node), "SUCCESS", size.callbacks).await;
    let Decision::Hit(hit) = submit(bed, wish("http://host/hit")).await else {
        panic!("the result stands");
    };
    assert_delivered(bed, (&task, &node), "SUCCESS", size.callbacks + 1).await;
    reuse_again(bed, (&task, &node), &input, hit).await;
}

/// Fails unless the newest event shows the stage as it is.
async fn assert_summary_published(bed: &Bed, task: &TaskId, record: &StageRecord) {
    let last = bed.store.last_event().await.unwrap();
    let events = bed.store.events_after(last - 1, 1).await.unwrap();
    let event: Event = serde_json::from_str(&events.expect("none is missing")[0]).unwrap();
    assert_eq!((event.task_id, event.kind), (task.clone(), EventKind::Hit));
    let shown = serde_json::to_value(event.stage).unwrap();
    assert_eq!(shown, serde_json::to_value(record.summary()).unwrap());
}

/// Hits the same result again as the one that was reused, and not as one that does not stand.
async fn reuse_again(bed: &Bed, (task, node): (&TaskId, &NodeName), input: &str, before: Hit) {
    let question = ReuseQuery {
        task,
        node,
        mode: ReuseRule::Auto,
        fingerprint: "fp",
        files: None,
    };
    let ask = |result: &ReusedResult| HitRequest::new(&question, input, &Arc::new(result.clone()));
    let hit = hit_once(bed, ask(&before.result)).await;
    let hit = hit.expect("the result stands");
    assert_eq!(hit.input_changed, before.input_changed);
    let record = hit.records.stage(node).expect("the stage is read in the same step");
    assert_eq!(record.result_token(), before.result.token);
    assert_eq!(record.summary().reuse_hits, 2);
    assert_summary_published(bed, task, record).await;
    let token = ReusedResult {
        token: "another/1/2".into(),
        ..before.result.clone()
    };
    let generation = ReusedResult {
        generation: "7".into(),
        ..before.result
    };
    for other in [token, generation] {
        assert!(hit_once(bed, ask(&other)).await.is_none());
    }
}

/// A forced run that fails, one that is cancelled, and one that is lost: what stood stands again each time.
async fn run_again(bed: &Bed, size: Size) {
    let (task, node) = (task("t1"), node(NODES[0]));
    let input = text(size);
    let mut count = size.callbacks + 1;
    for how in ["failed", "cancelled", "lost"] {
        // As many as may be once: the others differ in how they end.
        let size = if how == "failed" {
            size
        } else {
            Size { callbacks: 3, ..size }
        };
        let wish = Wish {
            task: &task,
            node: &node,
            queue: "io",
            mode: ReuseRule::Never,
            input: &input,
            url: Some("http://host/forced"),
        };
        assert!(matches!(submit(bed, wish).await, Decision::Started { .. }));
        add_callbacks(bed, &format!("onceover:callbacks:{task}:{node}"), size).await;
        count += size.callbacks;
        let fence = claim(bed).await;
        match how {
            "failed" => {
                let failed = Outcome::Failed {
                    error: "no".repeat(2000),
                    took: vec![NodeName::parse(NODES[2]).unwrap()],
                };
                let finished = bed.store.finish(&fence, &failed, &DiskUsage::default(), None).await;
                assert!(finished.unwrap().counts);
            }
            "cancelled" => {
                assert!(bed.store.cancel(&task, None).await.unwrap().is_some());
                bed.store.release(&fence, &DiskUsage::default()).await.unwrap();
            }
            _ => assert_eq!(bed.store.reap("io", Reap::Gone(OWNER)).await.unwrap(), 1),
        }
        assert_delivered(bed, (&task, &node), "SUCCESS", count).await;
    }
    bed.store.reap("io", Reap::Expired).await.unwrap();
}

async fn deliver(bed: &Bed) {
    let busy = HashMap::new();
    let room = || Room {
        places: 8,
        free: 4,
        per_host: 4,
        busy: &busy,
    };
    let (taken, _) = bed.store.outbox_take(OWNER, room(), PATIENCE).await.unwrap();
    assert_eq!(taken.len(), 4);
    for (at, delivery) in taken.iter().enumerate() {
        let large = if at == 0 { "x".repeat(100_000) } else { "{}".into() };
        assert!(bed.store.outbox_body(&delivery.id, large).await.unwrap().is_some());
    }
    let tried = |state, retry| Tried {
        state,
        retry,
        detail: "tried".into(),
        http_status: Some(500),
        contact: Contact::Silent,
    };
    assert_ne!(
        bed.store
            .outbox_done(&taken[0], &tried(CallbackStatus::Sent, None), PATIENCE)
            .await
            .unwrap(),
        Recorded::Gone
    );
    assert_ne!(
        bed.store
            .outbox_done(&taken[1], &tried(CallbackStatus::Failed, None), PATIENCE)
            .await
            .unwrap(),
        Recorded::Gone
    );
    let again = tried(CallbackStatus::Pending, Some(Duration::from_secs(5)));
    assert_ne!(
        bed.store.outbox_done(&taken[2], &again, PATIENCE).await.unwrap(),
        Recorded::Gone
    );
    assert!(bed.store.redeliver(&taken[0].id).await.unwrap().is_some());
    assert_eq!(bed.store.outbox_release(OWNER).await.unwrap(), 1);
    bed.store.repair().await.unwrap();
    let damaged = &taken[3].id;
    let _: u64 = bed
        .ask(&["HSET", &format!("onceover:delivery:{damaged}"), "attempts", "?"])
        .await;
    assert!(bed.store.delivery(damaged).await.is_err());
    let _: u64 = bed.ask(&["HSET", "onceover:stage:t1:a.one", "queued", "?"]).await;
    assert_eq!(bed.store.mend().await.unwrap().len(), 2);
    assert!(bed.store.mend().await.unwrap().is_empty());
}

async fn read(bed: &Bed) {
    let task = task("t1");
    let node = node(NODES[0]);
    let records = bed.store.read(&task).await.unwrap();
    assert_eq!(records.stages.len(), 1);
    let question = ReuseQuery {
        task: &task,
        node: &node,
        mode: ReuseRule::Auto,
        fingerprint: "fp",
        files: None,
    };
    bed.store
        .explain(&question, &GatheredEvidence::default())
        .await
        .unwrap();
    let page = bed.store.list(&TaskFilter::default(), 500, None).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let deliveries = bed
        .store
        .deliveries(&DeliveryFilter::default(), 500, None)
        .await
        .unwrap();
    assert!(!deliveries.items.is_empty());
    bed.store.totals().await.unwrap();
    bed.store.queue("io", 4).await.unwrap();
    let slots = HashMap::from([("io".to_owned(), 4u32)]);
    bed.store.gauges(slots.iter()).await.unwrap();
    let counts = MinuteCounts {
        ended: 2,
        failed: 1,
        hits: 1,
        joins: 1,
        misses: 2,
        saved_ms: 1_500,
    };
    bed.store.note_minute(&counts, &["io"]).await.unwrap();
    let minutes = bed.store.minutes(2).await.unwrap();
    assert_eq!(minutes.iter().map(|minute| minute.ended).sum::<u64>(), 2);
    bed.store.holding(&task, &["io".into()]).await.unwrap();
    bed.store.collectable(&task, &["io".into()]).await.unwrap();
    bed.store.collected(&task, Some(("runs/x", 1))).await.unwrap();
}

/// Stages of other workers: one that ends, and one that is lost.
async fn others(bed: &Bed, size: Size) {
    let node = node(NODES[1]);
    for (name, ends) in [("t2", true), ("t3", false)] {
        let task = task(name);
        let key = format!("{task}:node:{node}");
        let json = format!(
            r#"{{"stages":{{"{node}":{{"status":"RUNNING","text":"{}"}}}}}}"#,
            "y".repeat(size.text)
        );
        let _: () = bed.ask(&["SET", &key, &json]).await;
        let stage = [(task.clone(), node.clone())];
        let (news, _) = bed.store.news(&stage, Duration::from_secs(7200), &[]).await.unwrap();
        let foreign = news[0].json.clone();
        let now = Timestamp::now().as_millis();
        let note = ForeignNote {
            task: &task,
            node: &node,
            foreign: &foreign,
            queue: "io",
            state: StageState::Running,
            written_ms: now,
            lost_ms: now + 1000,
            created_ms: now,
            progress: Some(5.0),
            duration_ms: 0,
        };
        assert!(bed.store.note(&note).await.unwrap());
        let callback = Some(("http://host/watched", "host"));
        assert_eq!(
            bed.store.watch(&task, &node, &foreign, callback).await.unwrap(),
            Watching::Begun
        );
        add_callbacks(bed, &format!("onceover:watch:{task}:{node}"), size).await;
        if size.is_largest {
            let surplus = Some(("http://host/surplus", "host"));
            assert_eq!(
                bed.store.watch(&task, &node, &foreign, surplus).await.unwrap(),
                Watching::Full
            );
        }
        assert_eq!(bed.store.watched(Duration::from_secs(60)).await.unwrap().len(), 1);
        let state = if ends {
            let (found, _) = bed.store.look(&task, &node, &[]).await.unwrap().unwrap();
            let adoption = Adoption {
                task: &task,
                node: &node,
                foreign: &found,
                queue: "io",
                state: StageState::Success,
                input: &text(size),
                input_public: &text(size),
                output: &text(size),
                warned: onceover_wire::WarningCount {
                    warnings: 1000,
                    retryable: true,
                },
                reusable: true,
                error: None,
                duration_ms: 5,
                ended_ms: now,
                created_ms: now,
                path: "/share",
            };
            assert!(bed.store.adopt(&adoption).await.unwrap());
            "SUCCESS"
        } else {
            let _: u64 = bed.ask(&["DEL", &key]).await;
            let lost = LostStage {
                task: &task,
                node: &node,
                is_there: false,
                ignore: &[],
                queue: "io",
                path: "/share",
                error: "not heard of",
                ended_ms: now,
            };
            assert_eq!(bed.store.unwatch(&lost).await.unwrap(), size.callbacks);
            "FAILED"
        };
        assert_delivered(bed, (&task, &node), state, size.callbacks).await;
    }
}

async fn videos(bed: &Bed) {
    let (run, now) = (RunId::generate(), Timestamp::now());
    let video: Video = serde_json::from_value(json!({
        "video_id": "v1", "task_id": "video-v1", "title": "a film", "source": "path", "path": "/film.mp4",
        "probe": {"size": 1, "format": "mp4", "audio_codecs": []}, "created_at": now,
    }))
    .unwrap();
    let mut processing: Processing = serde_json::from_value(json!({
        "video_id": "v1", "task_id": "video-v1", "pipeline": "default", "kind": "first", "run_id": run,
        "revision": 1, "status": "processing", "progress": 0, "tasks": [], "updated_at": now,
    }))
    .unwrap();
    assert!(bed.store.add_video(&video).await.unwrap());
    assert!(matches!(
        bed.store.start_video(&processing, false).await.unwrap(),
        VideoStart::Started
    ));
    processing.status = ProcessingStatus::Completed;
    assert!(bed.store.save_video(&mut processing, true).await.unwrap());
    assert_eq!(bed.store.list_videos(500, None).await.unwrap().items.len(), 1);
    assert!(matches!(
        bed.store.forget_video(&video.video_id).await.unwrap(),
        VideoForgotten::Forgotten
    ));
}

/// One task is deleted, the others expire; nothing is left of any.
async fn end(bed: &Bed) {
    let lease = DirectoryLease {
        directory: DIRECTORY,
        place: "{}",
        owner: OWNER,
        length: Duration::from_secs(60),
    };
    assert_eq!(bed.store.hold_directory(lease, None).await.unwrap(), None);
    bed.store.leave_directory(DIRECTORY, OWNER).await.unwrap();
    bed.store.delete(&task("t1"), true).await.unwrap();
    for name in ["t2", "t3"] {
        let _: u64 = bed.ask(&["ZADD", "onceover:expiry", "1", name]).await;
        let _: u64 = bed
            .ask(&[
                "DEL",
                &format!("onceover:stage:{name}:{}", NODES[1]),
                &format!("{name}:node:{}", NODES[1]),
                &format!("onceover:history:{name}:{}", NODES[1]),
            ])
            .await;
    }
    while bed.store.expire(Duration::from_secs(1)).await.unwrap() {}
    let left: Vec<String> = bed.ask(&["KEYS", "onceover:*t[123]*"]).await;
    let left: Vec<_> = left.iter().filter(|key| !key.ends_with(":deliveries")).collect();
    assert!(left.is_empty(), "{left:?}");
    let listed: u64 = bed.ask(&["ZCARD", "onceover:tasks"]).await;
    assert_eq!(listed, 0);
}
