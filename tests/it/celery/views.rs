//! What people and monitoring are shown of workers.

use onceover_tests::{
    celery_workers::{CeleryBroker, WorkerStart},
    eventually, onceover_at,
    screen::{Dashboard, row_with},
    until_equal,
};
use onceover_types::StageState;
use onceover_wire::{WorkerState, WorkersReport};
use serde_json::json;
use termlens::Key;

use super::{WRITE, begun, builder};

#[tokio::test]
async fn celery_workers_are_listed_with_their_queues_and_the_stage_that_each_runs() {
    let broker = CeleryBroker::start().await;
    let mut worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "film", WRITE).await;
    let read = || async { daemon.client.workers().await.unwrap() };
    let has_stage = |report: &WorkersReport| {
        let stages = report.queues.iter().flat_map(|queue| &queue.stages);
        stages
            .filter_map(|stage| stage.hostname.as_deref())
            .eq([worker.hostname()])
    };
    let report = eventually("the stage with its worker", || async {
        Some(read().await).filter(has_stage)
    })
    .await;
    let queue = &report.queues[0];
    assert_eq!(
        (queue.name.as_str(), queue.queue.as_str()),
        ("probe_queue", "celery:probe_queue")
    );
    assert_eq!(
        (queue.listeners.as_slice(), queue.slots),
        (&[worker.hostname().to_owned()][..], 3)
    );
    assert_eq!((queue.in_flight, queue.waiting, queue.reason.as_ref()), (1, 0, None));
    let seen = &report.workers[0];
    assert_eq!((seen.state, seen.concurrency), (WorkerState::Online, 2));
    assert_eq!(seen.pool.as_deref(), Some("prefork"));
    assert!(
        report.brokers[0].up && !report.brokers[0].broker.contains('@'),
        "{report:?}"
    );
    let printed = onceover_at(&daemon).arg("workers").output().await.unwrap();
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        text.contains(&format!("film/{WRITE}  on {}", worker.hostname())),
        "{text}"
    );
    let metrics = daemon.get("/metrics").await.text;
    for (series, value) in [
        ("queue_listeners", 1),
        ("queue_in_flight", 1),
        ("queue_slots", 3),
        ("broker_up", 1),
    ] {
        let line = metrics
            .lines()
            .find(|line| line.starts_with(&format!("onceover_celery_{series}{{")));
        assert!(
            line.is_some_and(|line| line.ends_with(&format!(" {value}"))),
            "{series}: {line:?}"
        );
    }
    daemon.until("film", WRITE, StageState::Success).await;
    worker.stop().await;
    until_equal("listeners", 0, || async { read().await.queues[0].listeners.len() }).await;
    let seen = &read().await.workers[0];
    assert!(!seen.state.is_listening(), "it is shown for a while: {seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_the_page_of_workers_shows_who_runs_what_and_where_nobody_listens() {
    let broker = CeleryBroker::start().await;
    let mut worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "film", WRITE).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("live");
    dashboard.press('B');
    dashboard.until(|screen| {
        let stage = row_with(screen, &format!("film › {WRITE}"));
        stage.is_some_and(|row| row.contains("on w1@test")) && row_with(screen, "prefork").is_some()
    });
    dashboard.press('j');
    dashboard.send(Key::Enter);
    dashboard.until(|screen| screen.contains("[1 Tasks]") && screen.contains(WRITE));
    dashboard.send(Key::Esc);
    dashboard.shows("Workers · 1 listening");
    daemon.until("film", WRITE, StageState::Success).await;
    worker.stop().await;
    dashboard.shows("no worker is listening on probe_queue");
}
