//! Everything that real workers of the oldest and the newest version wrote, as it was recorded, is read here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    CeleryNews, MessageId, PoolKind, ResultState, SightingState, TaskResult, TerminateOutcome, WorkerEvent,
    control::{ControlReply, collect_reports, read_sightings, read_terminations},
    follow::news_of,
    kombu::{is_message_with_id, is_unacked_with_id, message_id, read_message},
    names::KombuNames,
};

/// What workers of one version wrote.
struct Recording {
    version: &'static str,
    written: Value,
}

fn recordings() -> [Recording; 2] {
    let read = |version, text| Recording {
        version,
        written: serde_json::from_str(text).expect("a recording is JSON"),
    };
    [
        read("5.7", include_str!("../tests/captures/celery-5.7.json")),
        read("5.3", include_str!("../tests/captures/celery-5.3.json")),
    ]
}

impl Recording {
    fn result(&self, name: &str) -> TaskResult {
        let text = self.written["results"][name].as_str().expect("the result is recorded");
        let record: Value = serde_json::from_str(text).expect("a record is JSON");
        let id = record["task_id"].as_str().expect("a record names its message");
        TaskResult::read(&MessageId::parse(id).expect("an id"), text.as_bytes())
    }

    fn replies(&self, name: &str) -> Vec<ControlReply> {
        let items = self.written["pidbox"][name].as_array().expect("the reply is recorded");
        let read = |item: &Value| {
            let item = item.as_str().expect("a reply is a text").as_bytes();
            let headers = read_message("the reply", item).expect("a message").headers;
            let ticket = headers["ticket"].as_str().expect("a ticket").to_owned();
            let reply = ControlReply::read(item, &ticket).expect("a reply");
            reply.expect("the ticket is its own")
        };
        items.iter().map(read).collect()
    }

    fn news(&self, kind: &str) -> Vec<CeleryNews> {
        let names = KombuNames::new("", 2, false);
        let published = self.written[kind].as_array().expect("traffic is recorded");
        published
            .iter()
            .flat_map(|message| {
                let text = |field: &str| message[field].as_str().expect("a text");
                news_of(text("channel"), text("payload").as_bytes(), &names)
            })
            .collect()
    }

    fn message(&self, pointer: &str) -> &str {
        let message = self.written["messages"].pointer(pointer).and_then(Value::as_str);
        message.unwrap_or_else(|| panic!("{pointer} of {} is recorded", self.version))
    }
}

#[test]
fn results_of_every_state_are_read() {
    for recording in recordings() {
        for (name, state) in [
            ("success_context", ResultState::Success),
            ("success_plain", ResultState::Success),
            ("handled_failure", ResultState::Success),
            ("success_after_retry", ResultState::Success),
            ("failure", ResultState::Failure),
            ("not_registered", ResultState::Failure),
            ("worker_lost", ResultState::Failure),
            ("started", ResultState::Started),
            ("retry", ResultState::Retry),
            ("progress", ResultState::Custom("PROGRESS".into())),
            ("custom_state", ResultState::Custom("SKIPPED".into())),
            ("revoked_terminated", ResultState::Revoked),
            ("revoked_queued", ResultState::Revoked),
            ("revoked_expired", ResultState::Revoked),
        ] {
            let result = recording.result(name);
            assert_eq!(result.state, state, "{name} of {}", recording.version);
            assert_eq!(
                result.date_done.is_some(),
                state.is_terminal(),
                "{name} of {}",
                recording.version
            );
        }
    }
}

#[test]
fn a_handled_failure_is_a_success_whose_context_says_otherwise() {
    for recording in recordings() {
        let stage = &recording.result("handled_failure").result["stages"]["probe.fail"];
        assert_eq!(stage["status"], "FAILED");
        assert_eq!(stage["error"], "no such codec");
        let plain = recording.result("success_plain").result;
        assert_eq!(plain["frames"], 2);
    }
}

#[test]
fn exceptions_are_read_for_people_and_lost_processes_are_known() {
    for recording in recordings() {
        let exception = |name: &str| recording.result(name).exception().expect("an exception");
        assert_eq!(exception("failure"), "ValueError: no such codec");
        assert_eq!(exception("not_registered"), "NotRegistered: probe.nope");
        assert_eq!(exception("retry"), "RuntimeError: try 0");
        assert_eq!(exception("revoked_terminated"), "TaskRevokedError: terminated");
        assert_eq!(exception("revoked_queued"), "TaskRevokedError: revoked");
        assert_eq!(exception("revoked_expired"), "TaskRevokedError: expired");
        assert!(exception("worker_lost").contains("signal 9 (SIGKILL)"));
        assert!(recording.result("worker_lost").is_process_lost());
        assert!(!recording.result("failure").is_process_lost());
        let traceback = recording.result("failure").traceback.expect("a traceback");
        assert!(traceback.ends_with("ValueError: no such codec\n"), "{traceback}");
    }
}

#[test]
fn the_process_of_a_task_is_known_from_its_start() {
    for recording in recordings() {
        let started = recording.result("started");
        assert_eq!(started.hostname.as_deref(), Some("w1@h"));
        assert!(started.pid.is_some());
    }
}

#[test]
fn what_is_published_of_results_is_what_is_stored() {
    for recording in recordings() {
        let news = recording.news("result_traffic");
        let states: BTreeSet<String> = news
            .iter()
            .map(|news| match news {
                CeleryNews::Result(result) => result.state.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            "FAILURE", "PROGRESS", "RETRY", "REVOKED", "SKIPPED", "STARTED", "SUCCESS",
        ];
        assert_eq!(states.iter().collect::<Vec<_>>(), expected, "{}", recording.version);
    }
}

#[test]
fn events_of_every_kind_are_read_one_by_one_and_in_lists() {
    for recording in recordings() {
        let news = recording.news("event_traffic");
        assert!(news.len() >= recording.written["event_traffic"].as_array().map_or(0, Vec::len));
        let mut kinds = BTreeSet::new();
        for news in &news {
            let CeleryNews::Event(event) = news else {
                panic!("{news:?}");
            };
            assert!(event.hostname().ends_with("@h"), "{event:?}");
            kinds.insert(match event {
                WorkerEvent::Online { version, pid, at, .. } => {
                    assert!(version.is_some() && pid.is_some() && at.is_some(), "{event:?}");
                    "online"
                }
                WorkerEvent::Heartbeat {
                    active,
                    processed,
                    interval,
                    ..
                } => {
                    assert!(
                        active.is_some() && processed.is_some() && *interval == Some(1.0),
                        "{event:?}"
                    );
                    "heartbeat"
                }
                WorkerEvent::Offline { .. } => "offline",
                WorkerEvent::TaskReceived { name, .. } => {
                    assert!(name.is_some(), "{event:?}");
                    "received"
                }
                WorkerEvent::TaskStarted { .. } => "started",
                WorkerEvent::TaskSucceeded { .. } => "succeeded",
                WorkerEvent::TaskFailed { exception, .. } => {
                    assert!(exception.is_some(), "{event:?}");
                    "failed"
                }
                WorkerEvent::TaskRetried { .. } => "retried",
                WorkerEvent::TaskRevoked { .. } => "revoked",
                // A worker that is made to stop gives its message back, and calls that otherwise since 5.7.
                WorkerEvent::TaskRejected { .. } | WorkerEvent::TaskCancelled { .. } => "given back",
            });
        }
        let expected = [
            "failed",
            "given back",
            "heartbeat",
            "offline",
            "online",
            "received",
            "retried",
            "revoked",
            "started",
            "succeeded",
        ];
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected, "{}", recording.version);
    }
}

#[test]
fn workers_are_reported_with_their_queues_pools_and_tasks() {
    for recording in recordings() {
        let reports = collect_reports(
            &recording.replies("active_queues"),
            &recording.replies("stats"),
            &recording.replies("registered"),
        );
        let [report] = &reports[..] else {
            panic!("{reports:?}");
        };
        assert_eq!(report.hostname, "w1@h");
        assert_eq!(report.queues, ["probe_queue"]);
        assert_eq!((&report.pool, report.concurrency), (&Some(PoolKind::Prefork), Some(2)));
        assert!(report.pid.is_some());
        assert!(report.registered.iter().any(|task| task == "probe.noop"));
        for (stats, pool) in [("stats_threads", PoolKind::Threads), ("stats_solo", PoolKind::Solo)] {
            let reports = collect_reports(&[], &recording.replies(stats), &[]);
            assert_eq!(reports[0].pool, Some(pool));
        }
    }
}

#[test]
fn messages_are_sighted_where_they_run_and_where_they_were_taken_ahead() {
    for recording in recordings() {
        let sightings = read_sightings(&recording.replies("query_task_reserved"));
        let count = |state: SightingState| sightings.iter().filter(|sighting| sighting.state == state).count();
        assert_eq!((count(SightingState::Active), count(SightingState::Reserved)), (2, 1));
        for sighting in &sightings {
            let is_active = sighting.state == SightingState::Active;
            assert_eq!(sighting.hostname, "w1@h");
            assert_eq!(sighting.pid.is_some(), is_active);
            assert_eq!(sighting.started_at.is_some(), is_active);
            assert_eq!(
                sighting.acknowledged,
                Some(is_active),
                "acknowledged early, as it begins"
            );
            assert!(!sighting.redelivered);
        }
        assert_eq!(
            read_sightings(&recording.replies("query_task")).len(),
            1,
            "the unknown one is nowhere"
        );
    }
}

#[test]
fn a_worker_says_whether_it_ended_a_task() {
    for recording in recordings() {
        let terminated = recording.result("revoked_terminated").id;
        let outcome = |name: &str| {
            let mut replies = read_terminations(&terminated, &recording.replies(name));
            replies.pop().expect("one worker replied").outcome
        };
        assert_eq!(outcome("revoke_terminate"), TerminateOutcome::Signalled);
        assert_eq!(outcome("revoke_unknown"), TerminateOutcome::NotRunning);
        let threads = outcome("revoke_terminate_threads");
        assert!(matches!(threads, TerminateOutcome::CannotTerminate(_)), "{threads:?}");
    }
}

#[test]
fn a_message_that_was_put_back_has_other_bytes_and_the_same_id() {
    for recording in recordings() {
        let (pushed, back) = (
            recording.message("/requeued/pushed"),
            recording.message("/requeued/back/0"),
        );
        assert_ne!(pushed, back);
        let id = message_id(pushed.as_bytes()).expect("an id");
        assert!(is_message_with_id(back.as_bytes(), &id));
        assert!(!is_message_with_id(back.as_bytes(), &MessageId::generate()));
    }
}

#[test]
fn a_message_that_was_taken_is_found_among_the_unacknowledged() {
    for recording in recordings() {
        let entry = recording.message("/unacked/0").as_bytes();
        let id = recording.result("revoked_queued").id;
        assert!(is_unacked_with_id(entry, &id));
        assert!(!is_unacked_with_id(entry, &MessageId::generate()));
    }
}

#[test]
fn priorities_are_in_lists_that_are_searched_and_packed_messages_are_read() {
    let lists = KombuNames::new("", 2, false).queue_lists("other_queue");
    for recording in recordings() {
        let queues = recording.written["messages"]["producer"].as_object().expect("lists");
        assert_eq!(queues.len(), 3, "priorities 0, 6 and 9 were sent");
        for (list, messages) in queues {
            assert!(lists.contains(list), "{list:?}");
            for message in messages.as_array().into_iter().flatten().filter_map(Value::as_str) {
                let read = read_message("the message", message.as_bytes()).expect("a message");
                assert!(read.body[1]["context"].is_object());
            }
        }
    }
}

#[test]
fn a_busy_solo_worker_hears_and_does_not_reply() {
    for recording in recordings() {
        let busy = &recording.written["busy_solo"];
        assert_eq!(busy["heard"], 1);
        assert_eq!(busy["replies"], Value::Array(Vec::new()));
        assert_eq!(recording.written["heard_without_worker"], 0);
    }
}
