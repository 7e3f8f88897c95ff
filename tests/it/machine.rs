//! The machine and the last hour: what the daemon tells of its load, and what all daemons have counted.

use onceover_tests::{Daemon, RedisServer, eventually};
use onceover_types::StageState;
use serde_json::json;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

#[tokio::test]
async fn samples_tell_how_busy_the_machine_is_and_which_stages_ran() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    let load = eventually("a sample with the stage", || async {
        let load = daemon.client.machine().await.unwrap();
        let has_stage = load.samples.iter().any(|sample| {
            let mut stages = sample.stages.iter();
            stages.any(|stage| stage.task_id.as_str() == "film" && stage.task_name.as_str() == WAIT)
        });
        has_stage.then_some(load)
    })
    .await;
    assert!(load.cpus >= 1 && load.interval_ms == 5_000 && load.samples.len() <= 120);
    let newest = load.samples.last().unwrap();
    assert!((0.0..=100.0).contains(&newest.cpu_percent), "{newest:?}");
    assert!(newest.memory.used_bytes > 0 && newest.memory.used_bytes <= newest.memory.total_bytes);
    assert!(newest.disk.is_some_and(|disk| disk.used_bytes <= disk.total_bytes));
    assert!(newest.daemon.resident_bytes > 1 << 20, "{newest:?}");
    assert!(load.samples.is_sorted_by_key(|sample| sample.at.as_millis()));
    let system = daemon.get("/v1/system").await.text;
    assert!(
        !system.contains("cpu_percent"),
        "the regular check stays small: {system}"
    );
}

#[tokio::test]
async fn the_figures_of_daemons_on_one_redis_add_up() {
    let redis = RedisServer::start(&[]).await;
    let first = Daemon::builder().redis(&redis.url(0)).start().await;
    let second = Daemon::builder().redis(&redis.url(0)).start().await;
    first.done("a", ECHO, json!({})).await;
    first.submit("a", ECHO, json!({})).await;
    second.done("b", ECHO, json!({})).await;
    second.submit("c", "test.fail", json!({})).await;
    second.until("c", "test.fail", StageState::Failed).await;
    eventually("the figures of both", || async {
        // Each notes what it has counted as it is asked, whichever of them ran a stage.
        first.client.history().await.unwrap();
        let history = second.client.history().await.unwrap();
        assert_eq!(history.minutes.len(), 60);
        let sum = |figure: fn(&onceover_wire::HistoryMinute) -> u64| history.minutes.iter().map(figure).sum::<u64>();
        let counted = (
            sum(|minute| minute.ended),
            sum(|minute| minute.failed),
            sum(|minute| minute.hits),
            sum(|minute| minute.misses),
        );
        (counted == (3, 1, 1, 3)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_counted_right_before_a_stop_is_in_the_history() {
    let redis = RedisServer::start(&[]).await;
    let mut first = Daemon::builder().redis(&redis.url(0)).start().await;
    first.done("a", ECHO, json!({})).await;
    assert!(first.stop().await.success());
    let second = Daemon::builder().redis(&redis.url(0)).start().await;
    let history = second.client.history().await.unwrap();
    assert_eq!(history.minutes.iter().map(|minute| minute.ended).sum::<u64>(), 1);
}

#[tokio::test]
async fn a_queue_in_which_a_run_waits_is_in_the_history() {
    let daemon = Daemon::builder().config("[slots]\ngpu = 1").start().await;
    daemon.submit("one", WAIT, json!({"until": "go"})).await;
    daemon.until("one", WAIT, StageState::Running).await;
    daemon.submit("two", WAIT, json!({"until": "go"})).await;
    daemon.until("two", WAIT, StageState::Pending).await;
    let class = daemon.client.queues().await.unwrap().queues;
    let class = class
        .into_iter()
        .find(|queue| queue.running == 1)
        .expect("it runs")
        .name;
    let history = daemon.client.history().await.unwrap();
    let now = history.minutes.last().unwrap();
    let before = &history.minutes[history.minutes.len() - 2];
    // The minute may have ended between the note and the read.
    let seen = now.queues.get(&class).or_else(|| before.queues.get(&class));
    assert!(
        seen.is_some_and(|queue| queue.running >= 1 && queue.pending >= 1),
        "{history:?}"
    );
}
