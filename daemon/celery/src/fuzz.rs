//! Fuzz targets of what workers and other clients write to the broker, and of the URLs of brokers.

use onceover_fuzz::fuzz;

use super::{
    BrokerSettings, MessageId, TaskResult,
    control::{ControlReply, collect_reports, read_sightings, read_terminations},
    event::read_events,
    kombu::{is_message_with_id, is_unacked_with_id, message_id},
};

const WORDS: &[&str] = &[
    "null",
    "[]",
    "{}",
    "\"\"",
    "true",
    "-1",
    "1e999",
    "\"id\"",
    "\"headers\"",
    "\"body_encoding\": \"base64\"",
    "\"compression\": \"application/x-gzip\"",
    "\"status\"",
    "\"exc_message\"",
    "\"pool\"",
    "\u{6}\u{16}",
];

/// A record is a result of the message that was asked for, whatever it holds.
#[test]
fn fuzz_celery_results() {
    let id = MessageId::generate();
    fuzz("celery_results", WORDS, |bytes| {
        let result = TaskResult::read(&id, bytes);
        assert_eq!(result.id, id);
        assert_eq!(result.exception().is_some(), result.exception_kind().is_some());
        let _shown = result.state.to_string();
    });
}

/// Messages of the broker are read or refused, as events, as replies and as what waits in a queue.
#[test]
fn fuzz_celery_messages() {
    let other = MessageId::generate();
    fuzz("celery_messages", WORDS, |bytes| {
        for event in read_events(bytes).unwrap_or_default() {
            let _shown = format!("{event:?}");
        }
        let replies: Vec<ControlReply> = ControlReply::read(bytes, "t").ok().flatten().into_iter().collect();
        for report in collect_reports(&replies, &replies, &replies) {
            assert!(replies.iter().any(|reply| reply.hostname == report.hostname));
        }
        for sighting in read_sightings(&replies) {
            assert!(replies.iter().any(|reply| reply.hostname == sighting.hostname));
        }
        assert_eq!(read_terminations(&other, &replies).len(), replies.len());
        if let Some(id) = message_id(bytes) {
            assert_eq!(
                is_message_with_id(bytes, &id),
                std::str::from_utf8(bytes).is_ok_and(|text| text.contains(&id.to_string()))
            );
        }
        assert!(!is_message_with_id(bytes, &other));
        assert!(!is_unacked_with_id(bytes, &other));
    });
}

/// A URL that is accepted can be shown, and reads the same again.
#[test]
fn fuzz_broker_urls() {
    const PARTS: &[&str] = &[
        "redis://",
        "sentinel://",
        "redis+socket:///",
        ";",
        "@",
        ":",
        "#",
        "?",
        "&",
        "/2",
        "%40",
        "%ff",
        "ssl_cert_reqs=none",
        "virtual_host=",
        "[::1]",
    ];
    fuzz("broker_urls", PARTS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(settings) = BrokerSettings::parse(&text, Some(&text)) else {
            return;
        };
        assert_eq!(settings.results.as_ref(), Some(&settings.broker));
        let shown = settings.to_string();
        assert!(
            shown.contains(", results at ") && !shown.contains("cannot be read"),
            "{shown}"
        );
    });
}
