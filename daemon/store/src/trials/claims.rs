//! How runs are taken: several in one call, with the end of another one, and again by a call whose answer was lost.

use onceover_types::{NodeName, TaskId};

use super::{
    super::{Claims, DiskUsage, Fence, QueueShare, ReuseRule},
    Bed,
    life::{self, Wish, failure, submit, success},
};

const QUEUE: &str = "io";
const OWNER: &str = "owner#1";

/// Lets runs of as many tasks wait, the first of `t1`.
async fn queue_runs(bed: &Bed, count: usize) {
    let node = NodeName::parse(life::NODES[0]).unwrap();
    for number in 1..=count {
        let task = TaskId::parse(&format!("t{number}")).unwrap();
        let wish = Wish {
            task: &task,
            node: &node,
            queue: QUEUE,
            mode: ReuseRule::Auto,
            input: r#"{"text":"as it was sent"}"#,
            url: None,
        };
        submit(bed, wish).await;
    }
}

fn share(slots: u32, running: &[&Fence]) -> QueueShare {
    QueueShare {
        slots,
        running: running.iter().map(|fence| fence.slot()).collect(),
    }
}

async fn claim(bed: &Bed, slots: u32, running: &[&Fence], most: u32) -> Claims {
    bed.store
        .claim(QUEUE, OWNER, &share(slots, running), most)
        .await
        .unwrap()
}

fn fences(claims: &Claims) -> Vec<Fence> {
    claims.runs.iter().map(|claim| claim.fence.clone()).collect()
}

/// Tasks and attempts of runs, in their order.
fn attempts(fences: &[Fence]) -> Vec<(&str, u32)> {
    fences
        .iter()
        .map(|fence| (fence.task.as_str(), fence.attempt))
        .collect()
}

async fn held(bed: &Bed) -> u64 {
    bed.ask(&["ZCARD", "onceover:held:io"]).await
}

#[tokio::test]
async fn several_runs_are_taken_in_one_call_in_the_order_of_the_queue_and_as_slots_are_free() {
    let bed = Bed::start(false).await;
    queue_runs(&bed, 4).await;
    let first = claim(&bed, 3, &[], 2).await;
    assert_eq!(attempts(&fences(&first)), [("t1", 1), ("t2", 1)]);
    assert!(first.others_wait);
    assert_eq!(first.runs[0].record.input(), r#"{"text":"as it was sent"}"#);
    let running = fences(&first);
    let running: Vec<_> = running.iter().collect();
    let second = claim(&bed, 3, &running, 2).await;
    assert_eq!(attempts(&fences(&second)), [("t3", 1)], "three slots are all there are");
    assert!(second.others_wait);
    // Slots are counted over all daemons.
    let other = bed.store.claim(QUEUE, "owner#2", &share(3, &[]), 2).await.unwrap();
    assert!(other.runs.is_empty() && other.others_wait);
    assert_eq!(held(&bed).await, 3);
}

#[tokio::test]
async fn a_claim_that_is_repeated_answers_the_runs_that_it_took() {
    let bed = Bed::start(false).await;
    queue_runs(&bed, 3).await;
    let lost = fences(&claim(&bed, 4, &[], 2).await);
    let again = claim(&bed, 4, &[], 2).await;
    assert_eq!(fences(&again), lost);
    assert_eq!(held(&bed).await, 2);
    // One that has arrived is not answered any more, and the next one is.
    let rest = fences(&claim(&bed, 4, &[&lost[0]], 4).await);
    assert_eq!(attempts(&rest), [("t2", 1), ("t3", 1)]);
    // Another daemon's runs are none of this one's.
    let other = bed.store.claim(QUEUE, "owner#2", &share(4, &[]), 4).await.unwrap();
    assert!(other.runs.is_empty() && !other.others_wait);
}

#[tokio::test]
async fn an_end_that_is_reported_again_answers_the_run_that_it_took() {
    let bed = Bed::start(false).await;
    for outcome in [success("{}", false), failure("no")] {
        queue_runs(&bed, 3).await;
        let first = fences(&claim(&bed, 1, &[], 1).await).remove(0);
        let known = share(1, &[&first]);
        let report = async || {
            let finished = bed
                .store
                .finish(&first, &outcome, &DiskUsage::default(), Some(&known))
                .await;
            finished.unwrap()
        };
        let finished = report().await;
        assert!(finished.counts && finished.next.others_wait);
        let next = fences(&finished.next);
        assert_eq!(attempts(&next), [("t2", 1)]);
        let again = report().await;
        assert_eq!(
            fences(&again.next),
            next,
            "no third run is taken, and none is taken twice"
        );
        assert_eq!(held(&bed).await, 1);
        bed.ask::<()>(&["FLUSHDB"]).await;
    }
}

#[tokio::test]
async fn a_daemon_that_drains_reports_an_end_and_takes_nothing() {
    let bed = Bed::start(false).await;
    queue_runs(&bed, 2).await;
    let first = fences(&claim(&bed, 1, &[], 1).await).remove(0);
    let finished = bed
        .store
        .finish(&first, &success("{}", false), &DiskUsage::default(), None)
        .await;
    let finished = finished.unwrap();
    assert!(finished.counts && finished.next.runs.is_empty());
    assert_eq!(held(&bed).await, 0);
    let waiting: u64 = bed.ask(&["ZCARD", "onceover:queue:io"]).await;
    assert_eq!(waiting, 1);
}

#[tokio::test]
async fn an_end_counts_although_the_next_run_cannot_be_taken() {
    let bed = Bed::start(false).await;
    queue_runs(&bed, 1).await;
    let first = fences(&claim(&bed, 1, &[], 1).await).remove(0);
    bed.ask::<()>(&["SET", "onceover:queue:io", "no queue"]).await;
    let known = share(1, &[&first]);
    let finished = bed
        .store
        .finish(&first, &success("{}", false), &DiskUsage::default(), Some(&known))
        .await;
    let finished = finished.unwrap();
    assert!(finished.counts && finished.next.runs.is_empty());
    assert!(
        bed.store.claim(QUEUE, OWNER, &known, 1).await.is_err(),
        "a claim reports it"
    );
}
