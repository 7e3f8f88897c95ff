//! What a worker reads and writes at the broker, in the shapes that real ones were recorded with
//! (`daemon/celery/tests/captures`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Exchanges of control requests and of their replies, with the channel of the former in database 0.
pub(super) const CONTROL_CHANNEL: &str = "/0.celery.pidbox";
const REPLY_EXCHANGE: &str = "reply.celery.pidbox";
/// The set in which those who ask register their lists.
pub(super) const REPLY_BINDINGS: &str = "_kombu.binding.reply.celery.pidbox";
/// What separates a queue from a priority, and the parts of a binding.
const SEPARATOR: &str = "\u{6}\u{16}";

/// The lists of a queue, in the order in which workers take from them.
pub(super) fn queue_lists(queue: &str) -> [String; 4] {
    let lower = |priority: u8| format!("{queue}{SEPARATOR}{priority}");
    [queue.to_owned(), lower(3), lower(6), lower(9)]
}

/// Seconds since 1970.
pub(super) fn unix_seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs_f64()
}

/// Reads the body of a message, in base64 or plain.
fn read_body(envelope: &Value) -> Result<Value, String> {
    let text = envelope["body"].as_str().ok_or("it has no body")?;
    let bytes = match envelope["properties"]["body_encoding"].as_str() {
        Some("base64") => STANDARD
            .decode(text)
            .map_err(|error| format!("its body is not base64: {error}"))?,
        _ => text.as_bytes().to_vec(),
    };
    serde_json::from_slice(&bytes).map_err(|error| format!("its body is no JSON: {error}"))
}

/// Writes a message that is published or put into a list of replies.
fn write_envelope(headers: &Value, body: &Value, exchange: &str, routing_key: &str) -> String {
    json!({
        "body": STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "delivery_mode": 1,
            "delivery_info": {"exchange": exchange, "routing_key": routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": format!("{:032x}", fastrand::u128(..)),
        },
    })
    .to_string()
}

/// A message that a worker has taken.
pub(super) struct TakenMessage {
    pub(super) text: String,
    /// Its key in `unacked`.
    pub(super) tag: String,
    pub(super) id: String,
    /// Whether a worker had it before.
    pub(super) is_redelivered: bool,
    context: Value,
}

impl TakenMessage {
    /// Reads it. What a real worker dies of, or loses the message by, is an error.
    pub(super) fn read(text: String, queue: &str) -> Result<Self, String> {
        let envelope: Value = serde_json::from_str(&text).map_err(|error| format!("it is no JSON: {error}"))?;
        let field = |value: &Value, name: &str| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| format!("it has no {name}: {envelope}"))
        };
        if envelope["content-type"] != "application/json" {
            return Err(format!("its content type is {}", envelope["content-type"]));
        }
        let properties = &envelope["properties"];
        let route = &properties["delivery_info"];
        if route["exchange"] != "" || route["routing_key"] != queue {
            return Err(format!("it would be put back to {route} and not to {queue}"));
        }
        let headers = &envelope["headers"];
        field(&headers["task"], "task")?;
        let id = field(&headers["id"], "id")?;
        let tag = field(&properties["delivery_tag"], "delivery tag")?;
        let is_redelivered = headers["redelivered"].as_bool().unwrap_or_default();
        let mut body = read_body(&envelope)?;
        if body.as_array().is_none_or(|parts| parts.len() != 3) || !body[2].is_object() {
            return Err(format!("its body is not arguments, keywords and options: {body}"));
        }
        let context = body[1]["context"].take();
        if !context["input_params"]["task_name"].is_string() {
            return Err(format!("its context names no node: {context}"));
        }
        Ok(Self {
            text,
            tag,
            id,
            is_redelivered,
            context,
        })
    }

    /// How long its task takes: `seconds` of the node's input.
    pub(super) fn duration(&self) -> Duration {
        let seconds = self.context["input_params"]["input_data"]["seconds"].as_f64();
        Duration::from_secs_f64(seconds.unwrap_or_default().max(0.0))
    }

    /// The context that the task returns, with its stage SUCCESS.
    pub(super) fn returned(&self) -> Value {
        let mut context = self.context.clone();
        let node = context["input_params"]["task_name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let input = context["input_params"]["input_data"].clone();
        context["stages"][node] = json!({
            "status": "SUCCESS",
            "input_params": input,
            "output": {"value": 1, "message": self.id},
            "error": null,
            "duration": self.duration().as_secs_f64(),
        });
        context
    }

    /// What stands in `unacked` while a worker holds it.
    pub(super) fn held(&self, queue: &str) -> String {
        format!("[{}, \"\", {}]", self.text, json!(queue))
    }
}

/// The message as it is put back: with other bytes than it was sent.
pub(super) fn mark_redelivered(message: &str) -> Option<String> {
    let mut envelope: Value = serde_json::from_str(message).ok()?;
    envelope["headers"]["redelivered"] = json!(true);
    envelope["properties"]["delivery_info"]["redelivered"] = json!(true);
    Some(envelope.to_string())
}

/// The message of an entry of `unacked`, as it is put back.
pub(super) fn restore_held(entry: &str) -> Option<String> {
    let parts: Value = serde_json::from_str(entry).ok()?;
    mark_redelivered(&parts[0].to_string())
}

/// The record of a result.
pub(super) fn write_record(id: &str, state: &str, result: &Value) -> String {
    let is_end = matches!(state, "SUCCESS" | "FAILURE" | "REVOKED");
    json!({
        "status": state,
        "result": result,
        "traceback": null,
        "children": [],
        "date_done": is_end.then_some("2026-11-28T09:43:59.726424+00:00"),
        "task_id": id,
    })
    .to_string()
}

/// A control request.
pub(super) struct ControlQuestion {
    pub(super) method: String,
    pub(super) arguments: Value,
    /// Where the reply goes, and what the question is known by.
    reply_to: Option<(String, Value)>,
}

impl ControlQuestion {
    /// Reads it. Returns nothing for what is meant for other workers, or cannot be read.
    pub(super) fn read(payload: &[u8], hostname: &str) -> Option<Self> {
        let envelope: Value = serde_json::from_slice(payload).ok()?;
        let mut body = read_body(&envelope).ok()?;
        if let Some(names) = body["destination"].as_array()
            && !names.iter().any(|name| name == hostname)
        {
            return None;
        }
        let asker = body["reply_to"]["routing_key"].as_str().map(str::to_owned);
        let ticket = body["ticket"].take();
        Some(Self {
            method: body["method"].as_str()?.to_owned(),
            arguments: body["arguments"].take(),
            reply_to: asker.map(|asker| (asker, ticket)),
        })
    }

    /// The list that the reply goes to, its binding, and the reply. Nothing where none is wanted.
    pub(super) fn write_reply(&self, hostname: &str, answer: &Value) -> Option<ControlReplyText> {
        let (asker, ticket) = self.reply_to.as_ref()?;
        let list = format!("{asker}.{REPLY_EXCHANGE}");
        let headers = json!({"ticket": ticket, "clock": 1});
        Some(ControlReplyText {
            binding: format!("{asker}{SEPARATOR}{SEPARATOR}{list}"),
            text: write_envelope(&headers, &json!({hostname: answer}), REPLY_EXCHANGE, asker),
            list,
        })
    }
}

/// A reply, and where it goes.
pub(super) struct ControlReplyText {
    pub(super) list: String,
    /// The entry that the asker has in [`REPLY_BINDINGS`] for as long as it waits.
    pub(super) binding: String,
    pub(super) text: String,
}

/// The channel and the message of an event of a worker: `online`, `heartbeat` or `offline`.
pub(super) fn write_worker_event(
    kind: &str,
    hostname: &str,
    pid: i64,
    active: u64,
    processed: u64,
) -> (String, String) {
    let body = json!({
        "type": format!("worker-{kind}"), "hostname": hostname, "pid": pid, "clock": 1, "freq": 2.0, "active": active,
        "processed": processed, "loadavg": [0.5, 0.5, 0.5], "sw_ident": "py-celery", "sw_ver": "5.7.0",
        "sw_sys": "Linux", "utcoffset": 0.0, "timestamp": unix_seconds(),
    });
    let key = format!("worker.{kind}");
    let message = write_envelope(&json!({"hostname": hostname}), &body, "celeryev", &key);
    (format!("/0.celeryev/{key}"), message)
}
