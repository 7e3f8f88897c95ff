//! What is kept of the runs of a stage, and of the runs of a node: which runs are listed, in which order, with which
//! attempts, and that nothing of it is left once the stage is deleted.

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::PastRun;

use super::{
    super::{Deletion, DiskUsage, Fence, Outcome, QueueShare, Reap, ReuseRule, StageHistory},
    Bed,
    life::{self, Wish, failure, submit, success},
};

const QUEUE: &str = "io";
const OWNER: &str = "owner#1";
const HISTORY: &str = "onceover:history:t1:a.one";

fn stage() -> (TaskId, NodeName) {
    (TaskId::parse("t1").unwrap(), NodeName::parse(life::NODES[0]).unwrap())
}

/// Asks for a run with this input.
async fn start(bed: &Bed, input: &str) {
    let (task, node) = stage();
    let wish = Wish {
        task: &task,
        node: &node,
        queue: QUEUE,
        mode: ReuseRule::Never,
        input,
        url: None,
    };
    submit(bed, wish).await;
}

async fn claim(bed: &Bed) -> Fence {
    let share = QueueShare {
        slots: 4,
        running: Vec::new(),
    };
    let mut claims = bed.store.claim(QUEUE, OWNER, &share, 1).await.unwrap();
    claims.runs.pop().expect("a run waits").fence
}

async fn finish(bed: &Bed, fence: &Fence, outcome: &Outcome) {
    let finished = bed.store.finish(fence, outcome, &DiskUsage::default(), None).await;
    assert!(finished.unwrap().counts);
}

/// Lets a run begin and end. Returns its id.
async fn run(bed: &Bed, input: &str, outcome: Outcome) -> String {
    start(bed, input).await;
    let fence = claim(bed).await;
    finish(bed, &fence, &outcome).await;
    fence.run.to_string()
}

async fn history(bed: &Bed) -> StageHistory {
    let (task, node) = stage();
    let records = bed.store.read(&task).await.unwrap();
    let record = records.stage(&node).expect("the stage has a record");
    bed.store.read_runs(&task, &node, record).await.unwrap()
}

fn ids(runs: &[PastRun]) -> Vec<&str> {
    runs.iter().map(|run| run.run_id.as_str()).collect()
}

#[tokio::test]
async fn runs_are_kept_when_another_one_takes_their_record_and_no_more_than_the_setting() {
    let bed = Bed::start(false).await;
    let first = run(&bed, r#"{"n":1}"#, failure("no")).await;
    let exists: u64 = bed.ask(&["EXISTS", HISTORY]).await;
    assert_eq!(exists, 0, "a stage that has run once has only its record");
    assert_eq!(ids(&history(&bed).await.runs), [first.as_str()]);
    let second = run(&bed, r#"{"n":2}"#, success(r#"{"made":2}"#, false)).await;
    let found = history(&bed).await;
    assert_eq!(ids(&found.runs), [second.as_str(), first.as_str()]);
    let [newest, oldest] = &found.runs[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (newest.status, oldest.status),
        (StageState::Success, StageState::Failed)
    );
    assert!(newest.standing && !oldest.standing);
    assert_eq!(oldest.error.as_deref(), Some("no"));
    assert_eq!(oldest.input.as_ref().unwrap()["n"], 1);
    assert_eq!(oldest.output, None);
    assert_eq!(newest.output.as_ref().unwrap()["made"], 2);
    assert_eq!((oldest.attempts.len(), oldest.attempts[0].attempt), (1, 1));
    assert!(oldest.ended_at <= newest.ended_at && oldest.started_at.is_some());
    let third = run(&bed, "{}", success("{}", false)).await;
    let fourth = run(&bed, "{}", success("{}", false)).await;
    let found = history(&bed).await;
    assert_eq!(ids(&found.runs), [fourth.as_str(), third.as_str(), second.as_str()]);
    assert_eq!(found.not_kept, 1);
}

#[tokio::test]
async fn a_forced_run_that_fails_is_listed_after_the_result_that_stands_again() {
    let bed = Bed::start(false).await;
    let result = run(&bed, r#"{"n":1}"#, success(r#"{"made":1}"#, false)).await;
    start(&bed, r#"{"n":2}"#).await;
    let forced = history(&bed).await.runs;
    assert_eq!(forced[0].status, StageState::Pending);
    assert_eq!((forced[1].run_id.as_str(), forced[1].standing), (result.as_str(), true));
    let fence = claim(&bed).await;
    finish(&bed, &fence, &failure("no")).await;
    let failed = fence.run.to_string();
    let found = history(&bed).await.runs;
    assert_eq!(ids(&found), [result.as_str(), failed.as_str()]);
    assert_eq!(found[0].input.as_ref().unwrap()["n"], 1);
    assert_eq!(
        (found[1].status, found[1].input.as_ref().unwrap()["n"].as_i64()),
        (StageState::Failed, Some(2))
    );
    // What stands is not listed a second time.
    let next = run(&bed, "{}", success("{}", false)).await;
    let found = history(&bed).await.runs;
    assert_eq!(ids(&found), [next.as_str(), failed.as_str(), result.as_str()]);
    let cancelled = {
        start(&bed, "{}").await;
        let fence = claim(&bed).await;
        bed.store.cancel(&stage().0, None).await.unwrap();
        fence.run.to_string()
    };
    let found = history(&bed).await.runs;
    assert_eq!(ids(&found)[..2], [next.as_str(), cancelled.as_str()]);
    assert_eq!(found[1].status, StageState::Cancelled);
}

#[tokio::test]
async fn each_attempt_has_its_times_and_how_it_was_lost() {
    let bed = Bed::start(false).await;
    let mut store = bed.store.clone();
    store.options.max_lost = 3;
    start(&bed, "{}").await;
    for whose in [Reap::HandedBack(OWNER), Reap::Gone(OWNER), Reap::Gone(OWNER)] {
        claim(&bed).await;
        assert_eq!(store.reap(QUEUE, whose).await.unwrap(), 1);
    }
    let fence = claim(&bed).await;
    let in_flight = &history(&bed).await.runs[0];
    let ends: Vec<_> = in_flight
        .attempts
        .iter()
        .map(|attempt| attempt.ended_at.is_some())
        .collect();
    assert_eq!(ends, [true, true, true, false]);
    finish(&bed, &fence, &success("{}", false)).await;
    start(&bed, "{}").await;
    let ended = &history(&bed).await.runs[1];
    let numbers: Vec<_> = ended.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let errors: Vec<_> = ended.attempts.iter().map(|attempt| attempt.error.as_deref()).collect();
    let (handed_back, gone) = (Some("its daemon stopped and handed it back"), Some("its daemon ended"));
    assert_eq!(errors, [handed_back, gone, gone, None]);
    for pair in ended.attempts.windows(2) {
        assert!(pair[0].ended_at <= Some(pair[1].started_at), "{ended:?}");
    }
}

#[tokio::test]
async fn lost_attempts_are_bounded_however_often_a_run_is_handed_back() {
    let bed = Bed::start(false).await;
    start(&bed, "{}").await;
    for _ in 0..100 {
        claim(&bed).await;
        bed.store.reap(QUEUE, Reap::HandedBack(OWNER)).await.unwrap();
    }
    let bytes: u64 = bed.ask(&["HSTRLEN", "onceover:stage:t1:a.one", "attempts"]).await;
    assert!((3000..5000).contains(&bytes), "{bytes} bytes");
    let attempts = &history(&bed).await.runs[0].attempts;
    assert_eq!(attempts.last().unwrap().attempt, 100);
}

#[tokio::test]
async fn what_does_not_fit_of_a_run_is_left_out_and_the_run_says_so() {
    let mut bed = Bed::start(false).await;
    bed.store.options.keep_runs = 5;
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(70_000));
    let medium = format!(r#"{{"text":"{}"}}"#, "x".repeat(40_000));
    run(&bed, &large, success("{}", false)).await;
    run(&bed, &medium, success(&medium, false)).await;
    run(&bed, "{}", failure(&"no".repeat(50_000))).await;
    start(&bed, "{}").await;
    let bytes: u64 = bed.ask(&["MEMORY", "USAGE", HISTORY]).await;
    assert!(bytes < 200_000, "{bytes} bytes");
    let standing = history(&bed).await.runs.swap_remove(2);
    assert!(
        standing.standing && standing.output.is_some(),
        "the record still has it"
    );
    let fence = claim(&bed).await;
    finish(&bed, &fence, &success("{}", false)).await;
    let runs = history(&bed).await.runs;
    let left_out: Vec<_> = runs
        .iter()
        .map(|run| (run.input_left_out, run.output_left_out))
        .collect();
    assert_eq!(left_out, [(false, false), (false, false), (false, true), (true, false)]);
    assert_eq!(runs[3].input, None);
    assert!(runs[3].output.is_some() && runs[2].input.is_some() && runs[2].output.is_none());
    assert!(runs[1].error.as_ref().unwrap().len() < 1000);
}

#[tokio::test]
async fn nothing_is_kept_where_the_setting_is_0() {
    let mut bed = Bed::start(false).await;
    bed.store.options.keep_runs = 0;
    run(&bed, "{}", failure("no")).await;
    let newest = run(&bed, "{}", success("{}", false)).await;
    let exists: u64 = bed.ask(&["EXISTS", HISTORY]).await;
    assert_eq!(exists, 0);
    let found = history(&bed).await;
    assert_eq!((ids(&found.runs), found.not_kept), (vec![newest.as_str()], 1));
}

#[tokio::test]
async fn kept_runs_expire_with_their_record_and_are_deleted_with_it() {
    let bed = Bed::start(false).await;
    run(&bed, "{}", failure("no")).await;
    start(&bed, "{}").await;
    let ttl = async || -> i64 { bed.ask(&["TTL", HISTORY]).await };
    assert_eq!(ttl().await, -1, "the stage is in flight");
    let fence = claim(&bed).await;
    finish(&bed, &fence, &success("{}", false)).await;
    let of_record: i64 = bed.ask(&["TTL", "onceover:stage:t1:a.one"]).await;
    assert!((ttl().await - of_record).abs() <= 1, "{} and {of_record}", ttl().await);
    start(&bed, "{}").await;
    assert_eq!(ttl().await, -1, "the stage is in flight again");
    assert!(matches!(
        bed.store.delete(&stage().0, true).await.unwrap(),
        Deletion::Removed(_)
    ));
    let left: Vec<String> = bed.ask(&["KEYS", "*t1*"]).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_damaged_beside_a_run_keeps_no_run_from_its_end() {
    let bed = Bed::start(false).await;
    bed.ask::<()>(&["SET", HISTORY, "no list"]).await;
    bed.ask::<()>(&["SET", "onceover:durations:a.one", "no hash"]).await;
    run(&bed, "{}", failure("no")).await;
    let newest = run(&bed, "{}", success("{}", false)).await;
    assert_eq!(ids(&history(&bed).await.runs), [newest.as_str()]);
    assert!(bed.store.node_statistics().await.unwrap().nodes.is_empty());
}

#[tokio::test]
async fn a_stage_that_failed_names_the_stages_that_it_took_from() {
    let bed = Bed::start(false).await;
    let source = NodeName::parse(life::NODES[1]).unwrap();
    let failed = Outcome::Failed {
        error: "no".into(),
        took: vec![source.clone()],
    };
    run(&bed, "{}", failed).await;
    start(&bed, "{}").await;
    let runs = history(&bed).await.runs;
    assert!(runs[0].needs.is_empty());
    assert_eq!(runs[1].needs, [source]);
}

#[tokio::test]
async fn a_nodes_figures_count_its_runs_and_its_hits() {
    let bed = Bed::start(false).await;
    run(&bed, "{}", failure("no")).await;
    start(&bed, "{}").await;
    let fence = claim(&bed).await;
    // As if it had begun that long ago.
    let began = (onceover_types::Timestamp::now().as_millis() - 5000).to_string();
    bed.ask::<()>(&["HSET", "onceover:stage:t1:a.one", "started", &began])
        .await;
    finish(&bed, &fence, &success(r#"{"ok":1}"#, false)).await;
    let (task, node) = stage();
    for _ in 0..2 {
        let wish = Wish {
            task: &task,
            node: &node,
            queue: QUEUE,
            mode: ReuseRule::Auto,
            input: "{}",
            url: None,
        };
        submit(&bed, wish).await;
    }
    start(&bed, "{}").await;
    bed.store.cancel(&task, None).await.unwrap();
    let figures = bed.store.node_statistics().await.unwrap().nodes[&node].clone();
    assert_eq!((figures.runs, figures.failed, figures.hits), (2, 1, 2), "{figures:?}");
    assert!((4500..7000).contains(&figures.p50_ms), "{figures:?}");
    assert!((5000..6000).contains(&figures.last_ms), "{figures:?}");
    assert!((10_000..12_000).contains(&figures.saved_ms), "{figures:?}");
    assert_eq!(figures.rate, Some(0.5));
}
