//! Runs that are sent to Celery workers: the journal of their messages, and what becomes of a run whose message is with the
//! workers while its daemon is not there.

use std::time::Duration;

use onceover_limits::Limit;
use onceover_types::{NodeName, RunnerKind, StageState, TaskId};

use super::{
    super::{Claims, Decision, DiskUsage, Dispatch, DispatchTarget, Fence, QueueShare, Reap, RequeuedRun, ReuseRule},
    Bed,
    life::{self, Wish, submit, success},
};

const QUEUE: &str = "celery:demo_queue";
const OWNER: &str = "owner#1";
const OTHER: &str = "owner#2";

/// A message of the run.
fn message(fence: &Fence, id: &str, envelope: &str) -> Dispatch {
    Dispatch {
        message: id.to_owned(),
        task: fence.task.clone(),
        node: fence.node.clone(),
        run: fence.run.clone(),
        attempt: fence.attempt,
        service: "a".into(),
        queue: "demo_queue".into(),
        envelope: envelope.to_owned(),
        sent_ms: 5,
    }
}

fn back_to(queue: &str) -> RequeuedRun {
    RequeuedRun {
        queue: queue.to_owned(),
        runner: RunnerKind::Celery,
        how: r#"its "worker" \was lost"#.into(),
    }
}

fn target(node: &NodeName, queue: &str) -> DispatchTarget {
    DispatchTarget(node.clone(), queue.to_owned(), RunnerKind::Builtin)
}

/// A run whose message goes to workers, is given back, waits for them, and goes elsewhere: every script of messages.
pub(super) async fn live(bed: &Bed, input: &str) {
    let (task, node) = (TaskId::parse("t4").unwrap(), node());
    let wish = Wish {
        task: &task,
        node: &node,
        queue: QUEUE,
        mode: ReuseRule::Auto,
        input,
        url: None,
    };
    assert!(matches!(submit(bed, wish).await, Decision::Started { .. }));
    let fence = claim(bed, QUEUE, OWNER, 1).await.runs.remove(0).fence;
    let dispatch = message(&fence, "m1", input);
    assert!(bed.store.journal_dispatch(&fence, &dispatch).await.unwrap());
    assert!(bed.store.note_dispatch(&dispatch, Some("w1@box")).await.unwrap());
    assert_eq!(bed.store.list_sent(QUEUE, 10).await.unwrap().len(), 1);
    assert!(!bed.store.note_lingering(&dispatch, "its run goes on").await.unwrap());
    let back = back_to(QUEUE);
    assert!(bed.store.requeue(&fence, &back, &DiskUsage::default()).await.unwrap());
    assert!(bed.store.forget_dispatch(&dispatch).await.unwrap());
    let local = [target(&node, "io")];
    assert_eq!(bed.store.reroute(QUEUE, &local, Duration::ZERO).await.unwrap(), 1);
    assert!(bed.store.cancel(&task, None).await.unwrap().is_some());
    bed.store.delete(&task, true).await.unwrap();
}

fn node() -> NodeName {
    NodeName::parse(life::NODES[0]).unwrap()
}

async fn wait_in_queue(bed: &Bed, task: &str) {
    let (task, node) = (TaskId::parse(task).unwrap(), node());
    let wish = Wish {
        task: &task,
        node: &node,
        queue: QUEUE,
        mode: ReuseRule::Auto,
        input: "{}",
        url: None,
    };
    submit(bed, wish).await;
}

async fn claim(bed: &Bed, queue: &str, owner: &str, slots: u32) -> Claims {
    let share = QueueShare {
        slots,
        running: Vec::new(),
    };
    bed.store.claim(queue, owner, &share, 4).await.unwrap()
}

/// A run of `t1` whose message is with the workers.
async fn sent(bed: &Bed) -> (Fence, Dispatch) {
    wait_in_queue(bed, "t1").await;
    let fence = claim(bed, QUEUE, OWNER, 1).await.runs.remove(0).fence;
    let dispatch = message(&fence, "m1", "{}");
    assert!(bed.store.journal_dispatch(&fence, &dispatch).await.unwrap());
    (fence, dispatch)
}

async fn journal(bed: &Bed) -> Vec<(String, Option<StageState>)> {
    let listed = bed.store.list_dispatches().await.unwrap();
    let entries = listed.into_iter();
    entries
        .map(|(dispatch, stage)| (dispatch.message, stage.map(|stage| stage.state)))
        .collect()
}

#[tokio::test]
async fn a_run_whose_message_is_with_the_workers_is_joined_in_the_same_attempt_and_counts_as_lost_never() {
    let bed = Bed::start(false).await;
    let (first, dispatch) = sent(&bed).await;
    wait_in_queue(&bed, "t2").await;
    // More often than a run may be lost.
    for owner in [OWNER, OTHER] {
        assert_eq!(bed.store.reap(QUEUE, Reap::Gone(owner)).await.unwrap(), 1);
        assert_eq!(journal(&bed).await, [("m1".to_owned(), Some(StageState::Pending))]);
        // It holds a slot of the workers already: it is taken where none is free, and no other run is.
        let mut claims = claim(&bed, QUEUE, OTHER, 0).await;
        assert_eq!(claims.runs.len(), 1);
        let joined = claims.runs.remove(0);
        assert_eq!((&joined.fence.run, joined.fence.attempt), (&first.run, 1));
        assert_eq!(joined.record.dispatch(), Some("m1"));
    }
    assert_eq!(bed.store.find_dispatch("m1").await.unwrap(), Some(dispatch));
    assert!(claim(&bed, QUEUE, OTHER, 0).await.others_wait);
}

#[tokio::test]
async fn a_queue_that_is_rebuilt_has_runs_with_a_message_first() {
    let bed = Bed::start(false).await;
    wait_in_queue(&bed, "t0").await;
    let _earlier = claim(&bed, QUEUE, OTHER, 1).await;
    wait_in_queue(&bed, "t1").await;
    let fence = claim(&bed, QUEUE, OWNER, 2).await.runs.remove(0).fence;
    let dispatch = message(&fence, "m1", "{}");
    assert!(bed.store.journal_dispatch(&fence, &dispatch).await.unwrap());
    bed.store.reap(QUEUE, Reap::HandedBack(OTHER)).await.unwrap();
    bed.store.reap(QUEUE, Reap::Gone(OWNER)).await.unwrap();
    let key = format!("onceover:queue:{QUEUE}");
    let before: Vec<(String, f64)> = bed.ask(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await;
    assert!(before[0].0.starts_with("t1|"), "{before:?}");
    let _: u64 = bed.ask(&["DEL", &key]).await;
    bed.store.repair().await.unwrap();
    let after: Vec<(String, f64)> = bed.ask(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_message_is_journalled_once_and_only_for_the_owner_of_its_run() {
    let bed = Bed::start(false).await;
    let (fence, dispatch) = sent(&bed).await;
    assert!(bed.store.journal_dispatch(&fence, &dispatch).await.unwrap(), "again");
    let second = message(&fence, "m2", "{}");
    assert!(!bed.store.journal_dispatch(&fence, &second).await.unwrap());
    let other = Fence {
        owner: OTHER.into(),
        ..fence.clone()
    };
    assert!(!bed.store.journal_dispatch(&other, &dispatch).await.unwrap());
    assert_eq!(journal(&bed).await, [("m1".to_owned(), Some(StageState::Running))]);
    assert!(!bed.store.forget_dispatch(&dispatch).await.unwrap(), "its run goes on");
}

#[tokio::test]
async fn a_success_forgets_its_message_and_other_ends_leave_it_to_be_settled() {
    let bed = Bed::start(false).await;
    let (fence, dispatch) = sent(&bed).await;
    assert!(bed.store.cancel(&fence.task, None).await.unwrap().is_some());
    assert_eq!(journal(&bed).await, [("m1".to_owned(), None)]);
    assert!(bed.store.forget_dispatch(&dispatch).await.unwrap());
    bed.store.release(&fence, &DiskUsage::default()).await.unwrap();
    let (fence, _) = sent(&bed).await;
    let finished = bed
        .store
        .finish(&fence, &success("{}", false), &DiskUsage::default(), None)
        .await;
    assert!(finished.unwrap().counts);
    assert_eq!(journal(&bed).await, []);
}

#[tokio::test]
async fn a_run_that_its_owner_gives_back_waits_as_the_next_attempt_without_a_message() {
    let bed = Bed::start(false).await;
    let (fence, _) = sent(&bed).await;
    let measured = DiskUsage::default();
    assert!(bed.store.requeue(&fence, &back_to("io"), &measured).await.unwrap());
    assert!(!bed.store.requeue(&fence, &back_to("io"), &measured).await.unwrap());
    assert_eq!(journal(&bed).await, [("m1".to_owned(), None)]);
    let stage = format!("onceover:stage:{}:{}", fence.task, fence.node);
    let lost: String = bed.ask(&["HGET", &stage, "attempts"]).await;
    let lost: serde_json::Value = serde_json::from_str(&lost).unwrap();
    assert_eq!(lost["error"], back_to("io").how);
    let next = claim(&bed, "io", OWNER, 1).await.runs.remove(0);
    assert_eq!((&next.fence.run, next.fence.attempt), (&fence.run, 2));
    assert_eq!(next.record.dispatch(), None);
    assert!(claim(&bed, QUEUE, OWNER, 4).await.runs.is_empty());
}

#[tokio::test]
async fn lost_attempts_that_are_left_out_are_whole_ones_whatever_the_others_say() {
    const ATTEMPTS: usize = 30;
    let bed = Bed::start(false).await;
    wait_in_queue(&bed, "t1").await;
    let back = RequeuedRun {
        how: r#"},{"attempt":"#.repeat(12),
        ..back_to(QUEUE)
    };
    for _ in 0..ATTEMPTS {
        let fence = claim(&bed, QUEUE, OWNER, 1).await.runs.remove(0).fence;
        assert!(bed.store.requeue(&fence, &back, &DiskUsage::default()).await.unwrap());
    }
    let stage = format!("onceover:stage:t1:{}", node());
    let lost: String = bed.ask(&["HGET", &stage, "attempts"]).await;
    let lost: Vec<serde_json::Value> = serde_json::from_str(&format!("[{lost}]")).unwrap();
    assert!(lost.len() > 1 && lost.len() < ATTEMPTS, "{} are kept", lost.len());
    for (attempt, before_last) in lost.iter().rev().zip(0..) {
        assert_eq!(attempt["attempt"], ATTEMPTS - before_last);
        assert_eq!(attempt["error"], back.how);
    }
}

#[tokio::test]
async fn only_stages_without_a_message_that_have_waited_long_enough_go_elsewhere() {
    let bed = Bed::start(false).await;
    sent(&bed).await;
    bed.store.reap(QUEUE, Reap::Gone(OWNER)).await.unwrap();
    wait_in_queue(&bed, "t2").await;
    let local = [target(&node(), "io")];
    let hour = Duration::from_secs(3600);
    assert_eq!(bed.store.reroute(QUEUE, &local, hour).await.unwrap(), 0);
    assert_eq!(bed.store.reroute(QUEUE, &[], Duration::ZERO).await.unwrap(), 0);
    assert_eq!(bed.store.reroute(QUEUE, &local, Duration::ZERO).await.unwrap(), 1);
    let moved = claim(&bed, "io", OWNER, 4).await.runs;
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].fence.task.as_str(), "t2");
}

#[tokio::test]
async fn what_a_worker_writes_over_a_run_that_has_ended_is_replaced_by_what_came_of_it() {
    let bed = Bed::start(false).await;
    let (fence, _) = sent(&bed).await;
    let finished = bed
        .store
        .finish(&fence, &success(r#"{"n":1}"#, false), &DiskUsage::default(), None)
        .await;
    assert!(finished.unwrap().counts);
    // Also where the run has ended on this machine, after its worker was lost.
    let stage = format!("onceover:stage:{}:{}", fence.task, fence.node);
    let runner: String = bed.ask(&["HGET", &stage, "runner"]).await;
    assert_eq!(runner, "builtin");
    let key = format!("{}:node:{}", fence.task, fence.node);
    let late = format!(
        r#"{{"stages": {{}}, "shared_storage_path": "/share/{}/{}"}}"#,
        fence.task,
        fence.folder()
    );
    let _: () = bed.ask(&["SET", &key, &late]).await;
    let stages = [(fence.task.clone(), fence.node.clone())];
    bed.store.news(&stages, Duration::from_secs(7200), &[]).await.unwrap();
    let json: String = bed.ask(&["GET", &key]).await;
    let ttl: i64 = bed.ask(&["TTL", &key]).await;
    assert!(json.contains(r#""output":{"n":1}"#) && ttl > 0, "{json} {ttl}");
}

#[tokio::test]
async fn r7_what_a_worker_writes_itself_for_a_run_that_was_sent_to_it_is_not_adopted() {
    let bed = Bed::start(false).await;
    let (fence, _) = sent(&bed).await;
    let node = node();
    assert!(bed.store.cancel(&fence.task, None).await.unwrap().is_some());
    let key = format!("{}:node:{node}", fence.task);
    for (storage, found) in [
        (format!("/share/{}/{}", fence.task, fence.folder()), 0),
        ("/share/t1".into(), 1),
    ] {
        let json = format!(
            r#"{{"stages": {{"{node}": {{"status": "SUCCESS", "output": {{"n": 1}}}}}}, "shared_storage_path": "{storage}"}}"#
        );
        let _: () = bed.ask(&["SET", &key, &json, "EX", "600"]).await;
        let stages = [(fence.task.clone(), node.clone())];
        let (news, _) = bed.store.news(&stages, Duration::from_secs(7200), &[]).await.unwrap();
        assert_eq!(news.len(), found, "{storage}");
        let looked = bed.store.look(&fence.task, &node, &[]).await.unwrap();
        assert_eq!(looked.is_some(), found == 1, "{storage}");
        let records = bed.store.read(&fence.task).await.unwrap();
        assert_eq!(records.foreign.len(), found, "{storage}");
    }
}

#[tokio::test]
async fn what_was_sent_is_listed_with_its_worker_for_every_daemon_and_no_more_than_the_limit() {
    let bed = Bed::start(false).await;
    let (fence, dispatch) = sent(&bed).await;
    assert!(!bed.store.was_pushed(&dispatch).await.unwrap());
    assert!(bed.store.note_dispatch(&dispatch, None).await.unwrap());
    assert!(bed.store.was_pushed(&dispatch).await.unwrap());
    assert_eq!(bed.store.list_sent(QUEUE, 10).await.unwrap()[0].hostname, None);
    assert!(bed.store.note_dispatch(&dispatch, Some("w1@box")).await.unwrap());
    // It waits for its next owner now.
    bed.store.reap(QUEUE, Reap::Gone(OWNER)).await.unwrap();
    let listed = bed.store.list_sent(QUEUE, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].task_id, &listed[0].run_id), (&fence.task, &fence.run));
    assert_eq!(
        (listed[0].message_id.as_str(), listed[0].hostname.as_deref()),
        ("m1", Some("w1@box"))
    );
    wait_in_queue(&bed, "t2").await;
    let other = claim(&bed, QUEUE, OTHER, 2).await.runs.pop().unwrap().fence;
    assert_eq!(other.task.as_str(), "t2");
    let second = message(&other, "m2", "{}");
    assert!(bed.store.journal_dispatch(&other, &second).await.unwrap());
    let before = Limit::StagesOnWorkers.times_reached();
    assert_eq!(bed.store.list_sent(QUEUE, 1).await.unwrap().len(), 1);
    assert!(Limit::StagesOnWorkers.times_reached() > before);
    assert_eq!(bed.store.list_sent(QUEUE, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_stage_says_that_a_worker_goes_on_until_its_message_is_forgotten() {
    let bed = Bed::start(false).await;
    let (fence, dispatch) = sent(&bed).await;
    let held = bed.store.list_held(QUEUE).await.unwrap();
    assert!(held.contains(&dispatch.attempt_name()), "{held:?}");
    let note = "w1@box goes on with it";
    assert!(
        !bed.store.note_lingering(&dispatch, note).await.unwrap(),
        "its run goes on"
    );
    assert!(bed.store.cancel(&fence.task, None).await.unwrap().is_some());
    assert!(bed.store.note_lingering(&dispatch, note).await.unwrap());
    let said = || async {
        let records = bed.store.read(&fence.task).await.unwrap();
        let summary = records.stage(&fence.node).unwrap().summary();
        (summary.status, summary.message)
    };
    assert_eq!(said().await, (StageState::Cancelled, Some(note.to_owned())));
    assert!(bed.store.forget_dispatch(&dispatch).await.unwrap());
    assert_eq!(said().await, (StageState::Cancelled, None));
    assert!(
        !bed.store.note_lingering(&dispatch, note).await.unwrap(),
        "it is forgotten"
    );
    bed.store.release(&fence, &DiskUsage::default()).await.unwrap();
    assert!(bed.store.list_held(QUEUE).await.unwrap().is_empty());
}
