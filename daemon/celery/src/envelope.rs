//! One message to a worker, exactly as Celery 5 (protocol 2) writes it. A message with a field missing is lost, or kills
//! the worker that takes it, which finds it again after each restart.

use std::time::Duration;

use onceover_types::{RunId, TaskId, Timestamp};
use serde_json::{Value, json};

use super::{
    MessageId,
    kombu::{KombuRoute, write_message},
};

/// What sends a message and for what; workers see it as headers of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The daemon, `onceoverd@host`; logs of workers and Flower show it.
    pub sender: String,
    pub task: TaskId,
    pub run: RunId,
    pub attempt: u32,
}

/// How long a message may wait and its task may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageLimits {
    /// From then on a worker answers REVOKED (`expired`) instead of running it, so that no forgotten message runs.
    pub expires: Option<Timestamp>,
    /// The time after which the task gets an exception that it may handle.
    pub soft: Option<Duration>,
    /// The time after which its process is killed.
    pub hard: Option<Duration>,
}

/// One message. Its bytes are written down before it is sent, since only exactly these can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope(String);

impl Envelope {
    /// Makes the message that has a worker call `task` with `kwargs`.
    pub fn new(
        id: &MessageId,
        task: &str,
        queue: &str,
        kwargs: &Value,
        origin: &Origin,
        limits: &MessageLimits,
    ) -> Self {
        let id = id.to_string();
        let headers = json!({
            "lang": "py",
            "task": task,
            "id": id,
            "shadow": null,
            "eta": null,
            "expires": limits.expires.map(with_offset),
            "group": null,
            "group_index": null,
            "retries": 0,
            "timelimit": [limits.hard.map(whole_seconds), limits.soft.map(whole_seconds)],
            "root_id": id,
            "parent_id": null,
            "argsrepr": "()",
            "kwargsrepr": names_of(kwargs),
            "origin": origin.sender,
            // `true` leaves STARTED for ever with older workers, `null` follows the task.
            "ignore_result": false,
            "replaced_task_nesting": 0,
            "stamped_headers": null,
            "stamps": {},
            "x-onceover-task": origin.task.as_str(),
            "x-onceover-run": origin.run.as_str(),
            "x-onceover-attempt": origin.attempt,
        });
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        let body = json!([[], kwargs, embed]);
        // A worker that puts the message back puts it into the list that the routing key names.
        let route = KombuRoute {
            exchange: "",
            routing_key: queue,
        };
        Self(write_message(&headers, &body, &route, &id))
    }

    /// Returns what is put into the queue.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the same as a text.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A time as every version of Celery reads it: ISO 8601 with an offset in digits.
fn with_offset(time: Timestamp) -> String {
    time.to_string().replace('Z', "+00:00")
}

fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    seconds.max(1)
}

/// What logs of workers show of the arguments: their names. A context is large, and may hold secrets.
fn names_of(kwargs: &Value) -> String {
    let names = kwargs.as_object().into_iter().flat_map(serde_json::Map::keys);
    let shown: Vec<String> = names.map(|name| format!("'{name}': ...")).collect();
    format!("{{{}}}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{super::kombu::read_message, *};

    fn envelope(limits: MessageLimits) -> (MessageId, Value, Value) {
        let id = MessageId::generate();
        let origin = Origin {
            sender: "onceoverd@h".into(),
            task: TaskId::parse("t1").expect("an id"),
            run: RunId::generate(),
            attempt: 2,
        };
        let kwargs = json!({"context": {"workflow_id": "t1", "token": "secret"}});
        let envelope = Envelope::new(&id, "probe.noop", "probe_queue", &kwargs, &origin, &limits);
        let body = read_message("it", envelope.bytes()).expect("a message").body;
        let written = serde_json::from_slice(envelope.bytes()).expect("JSON");
        (id, written, body)
    }

    /// The message of Celery itself for the same call, as it was recorded.
    fn recorded() -> Value {
        let captures: Value =
            serde_json::from_str(include_str!("../tests/captures/celery-5.7.json")).expect("captures are JSON");
        let text = captures["messages"]["producer"]["other_queue"][0]
            .as_str()
            .expect("a message");
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn every_field_that_a_celery_client_writes_is_there() {
        let (_, written, _) = envelope(MessageLimits::default());
        let recorded = recorded();
        for part in ["/headers", "/properties", "/properties/delivery_info", ""] {
            let fields = recorded.pointer(part).and_then(Value::as_object).expect("an object");
            let ours = written.pointer(part).and_then(Value::as_object).expect("an object");
            for field in fields.keys() {
                assert!(ours.contains_key(field), "{part}/{field} is missing");
            }
        }
        for field in ["content-type", "content-encoding"] {
            assert_eq!(written[field], recorded[field]);
        }
    }

    #[test]
    fn without_what_kills_a_worker_or_loses_the_message_nothing_is_written() {
        let (id, written, body) = envelope(MessageLimits::default());
        assert_eq!(written["headers"]["id"], json!(id.to_string()));
        assert_eq!(written["headers"]["root_id"], json!(id.to_string()));
        assert_eq!(written["headers"]["task"], "probe.noop");
        assert_eq!(written["headers"]["ignore_result"], json!(false));
        let properties = &written["properties"];
        assert_eq!(
            properties["delivery_info"],
            json!({"exchange": "", "routing_key": "probe_queue"})
        );
        assert_eq!(properties["correlation_id"], json!(id.to_string()));
        assert!(properties["delivery_tag"].is_string());
        assert_eq!(body.as_array().map(Vec::len), Some(3), "the third element is `embed`");
        assert_eq!(body[0], json!([]));
        assert_eq!(body[1]["context"]["workflow_id"], "t1");
        assert_eq!(
            body[2],
            json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null})
        );
    }

    #[test]
    fn two_messages_never_have_one_delivery_tag() {
        let tag = || envelope(MessageLimits::default()).1["properties"]["delivery_tag"].clone();
        assert_ne!(tag(), tag());
    }

    #[test]
    fn limits_are_written_as_workers_read_them() {
        let (_, written, _) = envelope(MessageLimits {
            expires: Some(Timestamp::from_millis(1_795_310_968_997)),
            soft: Some(Duration::from_millis(1500)),
            hard: Some(Duration::from_secs(60)),
        });
        let expires = written["headers"]["expires"].as_str().expect("a time");
        assert!(expires.ends_with(".997+00:00"), "{expires}");
        assert_eq!(written["headers"]["timelimit"], json!([60, 2]), "hard, then soft");
        let (_, written, _) = envelope(MessageLimits::default());
        assert_eq!(written["headers"]["timelimit"], json!([null, null]));
        assert_eq!(written["headers"]["expires"], Value::Null);
    }

    #[test]
    fn headers_name_the_run_and_no_log_of_a_worker_gets_the_input() {
        let (_, written, _) = envelope(MessageLimits::default());
        assert_eq!(written["headers"]["x-onceover-task"], "t1");
        assert_eq!(written["headers"]["x-onceover-attempt"], 2);
        assert_eq!(written["headers"]["kwargsrepr"], "{'context': ...}");
        assert!(!written["headers"].to_string().contains("secret"));
    }
}
