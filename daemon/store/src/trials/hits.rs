//! What `hit` answers of a result that was reused before is what `submit` would, and it leaves to `submit` whatever is
//! not as it was then.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};
use onceover_wire::{Event, EventKind};

use super::{
    super::{Decision, DiskUsage, Hit, HitRequest, RepeatedHit, ReuseQuery, ReuseRule, StoreError},
    Bed,
    life::{self, Wish, claim, submit, success},
};

const OUTPUT: &str = r#"{"ok":1}"#;

/// What becomes of a stage after its first hit.
struct Change {
    what: &'static str,
    mode: ReuseRule,
    /// Commands, with `<task>` for the task and `<stage>` for the key of its stage.
    commands: &'static [&'static [&'static str]],
    is_hit: bool,
}

const fn same(what: &'static str, mode: ReuseRule, commands: &'static [&'static [&'static str]]) -> Change {
    Change {
        what,
        mode,
        commands,
        is_hit: true,
    }
}

const fn other(what: &'static str, mode: ReuseRule, commands: &'static [&'static [&'static str]]) -> Change {
    Change {
        what,
        mode,
        commands,
        is_hit: false,
    }
}

const CHANGES: [Change; 19] = [
    same("nothing", ReuseRule::Auto, &[]),
    same(
        "a callback was sent",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "callback_status", "sent"]],
    ),
    same(
        "the result was uploaded",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "uploaded", "1"]],
    ),
    other("a run is forced", ReuseRule::Never, &[]),
    other("nothing is reused", ReuseRule::Off, &[]),
    other("the files of the input are not known", ReuseRule::Strict, &[]),
    other("other input is refused", ReuseRule::Refuse, &[]),
    other(
        "another worker wrote the stage",
        ReuseRule::Auto,
        &[&["SET", "<task>:node:a.one", "{}"]],
    ),
    other(
        "another worker wrote the older key",
        ReuseRule::Auto,
        &[&["SET", "<task>:a:one", "{}"]],
    ),
    other(
        "another worker has it in flight",
        ReuseRule::Auto,
        &[&["HSET", "onceover:foreign:<task>", "a.one", "RUNNING|9|ab|||0"]],
    ),
    other(
        "it is not reusable",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_reusable", "0"]],
    ),
    other(
        "a run has begun",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "state", "PENDING"]],
    ),
    other(
        "a run has begun and left the result",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "gen", "9"]],
    ),
    other(
        "another result stands",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_ended", "5"]],
    ),
    other("it has expired", ReuseRule::Auto, &[&["DEL", "<stage>"]]),
    other(
        "it is no hash",
        ReuseRule::Auto,
        &[&["DEL", "<stage>"], &["SET", "<stage>", "damaged"]],
    ),
    other(
        "its duration is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "res_duration_ms", "?"]],
    ),
    other(
        "its count is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "hits", "?"]],
    ),
    other(
        "its callback status is damaged",
        ReuseRule::Auto,
        &[&["HSET", "<stage>", "callback_status", "\""]],
    ),
];

fn wish<'a>(task: &'a TaskId, node: &'a NodeName, mode: ReuseRule) -> Wish<'a> {
    Wish {
        task,
        node,
        queue: "io",
        mode,
        input: "{}",
        url: None,
    }
}

/// Lets a stage succeed, and hits its result once.
async fn reuse_once(bed: &Bed, task: &TaskId, node: &NodeName) -> Hit {
    submit(bed, wish(task, node, ReuseRule::Auto)).await;
    let fence = claim(bed).await;
    bed.store
        .finish(&fence, &success(OUTPUT, false), &DiskUsage::default(), None)
        .await
        .unwrap();
    match submit(bed, wish(task, node, ReuseRule::Auto)).await {
        Decision::Hit(hit) => hit,
        _ => panic!("the result stands"),
    }
}

fn ask<'a>(task: &'a TaskId, node: &'a NodeName, mode: ReuseRule) -> ReuseQuery<'a> {
    ReuseQuery {
        task,
        node,
        mode,
        fingerprint: "fp",
        files: None,
    }
}

/// Sends one request for itself.
pub(super) async fn hit_once(bed: &Bed, request: HitRequest) -> Option<RepeatedHit> {
    let mut answers = bed.store.hit_each(&[request]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

/// Lets a stage succeed and be hit once. Returns the request for its result.
async fn prepare_request(bed: &Bed, task: &TaskId, node: &NodeName) -> HitRequest {
    let known = reuse_once(bed, task, node).await;
    HitRequest::new(&ask(task, node, ReuseRule::Auto), "{}", &Arc::new(known.result))
}

/// Whose stage was hit, and how often, by each event after this one.
async fn read_hits_after(bed: &Bed, seq: u64) -> Vec<(TaskId, NodeName, u64, u64)> {
    let events = bed.store.events_after(seq, 1000).await.unwrap();
    let events = events.expect("all of them are kept");
    let events = events.iter().map(|json| {
        let event: Event = serde_json::from_str(json).unwrap();
        assert_eq!(event.kind, EventKind::Hit);
        let stage = event.stage.expect("it is about a stage");
        let node = event.task_name.expect("it is about a node");
        (event.task_id, node, event.seq, stage.reuse_hits)
    });
    events.collect()
}

#[tokio::test]
async fn equal_hits_of_one_call_are_each_counted_and_published() {
    const HITS: u64 = 64;
    let bed = Bed::start(false).await;
    let (task, node): (TaskId, NodeName) = ("t1".parse().unwrap(), life::NODES[0].parse().unwrap());
    let request = prepare_request(&bed, &task, &node).await;
    let before = bed.store.last_event().await.unwrap();
    let answers = bed.store.hit_each(&vec![request; 64]).await.unwrap();
    let records: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap().expect("the result stands").records)
        .collect();
    assert_eq!(records.len(), 64);
    assert!(
        records.iter().all(|read| Arc::ptr_eq(read, &records[0])),
        "the task was read once"
    );
    // One hit was before.
    let summary = records[0].stage(&node).unwrap().summary();
    assert_eq!(summary.reuse_hits, HITS + 1);
    let published = read_hits_after(&bed, before).await;
    let expected: Vec<_> = (1..=HITS)
        .map(|number| (task.clone(), node.clone(), before + number, number + 1))
        .collect();
    assert_eq!(published, expected);
    let counted: u64 = bed.ask(&["HGET", "onceover:stats", "hits"]).await;
    assert_eq!(counted, HITS + 1);
}

#[tokio::test]
async fn requests_of_one_call_are_each_answered_whatever_the_others_find() {
    let bed = Bed::start(false).await;
    let [one, two] = [life::NODES[0], life::NODES[1]].map(|name| name.parse::<NodeName>().unwrap());
    let [first, second, damaged, other] = ["t1", "t2", "t3", "t4"].map(|name| name.parse::<TaskId>().unwrap());
    let requests = [
        prepare_request(&bed, &first, &one).await,
        prepare_request(&bed, &damaged, &one).await,
        prepare_request(&bed, &other, &one).await,
        prepare_request(&bed, &first, &two).await,
        prepare_request(&bed, &second, &one).await,
    ];
    for command in [
        ["HSET", &format!("onceover:stage:{damaged}:{one}"), "hits", "?"],
        ["HSET", &format!("onceover:stage:{other}:{one}"), "state", "PENDING"],
    ] {
        let _: redis::Value = bed.ask(&command).await;
    }
    let before = bed.store.last_event().await.unwrap();
    let answers = bed.store.hit_each(&requests).await.unwrap();
    let is_hit: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().is_some())
        .collect();
    assert_eq!(is_hit, [true, false, false, true, true]);
    let published = read_hits_after(&bed, before).await;
    let stages: Vec<_> = published.iter().map(|(task, node, ..)| (task, node)).collect();
    assert_eq!(stages, [(&first, &one), (&first, &two), (&second, &one)]);
    assert!(published.iter().all(|(.., hits)| *hits == 2));
}

#[tokio::test]
async fn a_full_redis_refuses_every_hit_of_a_call_and_counts_none() {
    let bed = Bed::start(false).await;
    let [one, two] = [life::NODES[0], life::NODES[1]].map(|name| name.parse::<NodeName>().unwrap());
    let task: TaskId = "t1".parse().unwrap();
    let requests = [
        prepare_request(&bed, &task, &one).await,
        prepare_request(&bed, &task, &two).await,
    ];
    let before = bed.store.everything().await;
    let _: () = bed.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for answer in bed.store.hit_each(&requests).await.unwrap() {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    let _: () = bed.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(bed.store.everything().await, before);
}

#[tokio::test]
async fn r8_a_known_result_is_hit_as_submit_would_and_whatever_has_changed_is_left_to_it() {
    let bed = Bed::start(false).await;
    let node: NodeName = life::NODES[0].parse().unwrap();
    for (number, change) in CHANGES.iter().enumerate() {
        let task: TaskId = format!("t{number}").parse().unwrap();
        let known = reuse_once(&bed, &task, &node).await;
        let stage = format!("onceover:stage:{task}:{node}");
        for command in change.commands {
            let words: Vec<_> = command
                .iter()
                .map(|word| word.replace("<task>", task.as_str()).replace("<stage>", &stage))
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _: redis::Value = bed.ask(&words).await;
        }
        let request = HitRequest::new(&ask(&task, &node, change.mode), "{}", &Arc::new(known.result.clone()));
        let before = bed.store.everything().await;
        let hit = hit_once(&bed, request).await;
        let what = change.what;
        assert_eq!(hit.is_some(), change.is_hit, "{what}");
        let Some(hit) = hit else {
            assert_eq!(bed.store.everything().await, before, "{what}: it was left to submit");
            continue;
        };
        assert_eq!(hit.input_changed, known.input_changed, "{what}");
        let counted = hit.records.stage(&node).unwrap().summary().reuse_hits;
        let Decision::Hit(again) = submit(&bed, wish(&task, &node, change.mode)).await else {
            panic!("{what}: submit does not hit what was hit");
        };
        assert_eq!((counted, again), (2, known), "{what}");
    }
}
