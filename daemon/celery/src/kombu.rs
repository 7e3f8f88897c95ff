//! Messages as kombu writes them to Redis: an envelope of JSON whose body is JSON again, mostly in base64.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::ZlibDecoder;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{CeleryError, MessageId};

/// The largest message that is read or sent, as it is and unpacked.
pub const LARGEST_MESSAGE: usize = 16 << 20;

/// What an event or a reply of a worker holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KombuMessage {
    pub(crate) headers: Map<String, Value>,
    pub(crate) body: Value,
}

/// Where a message goes, and where a worker puts it back to.
pub(crate) struct KombuRoute<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
}

/// Returns an error for what is larger than is taken.
pub(crate) fn check_size(what: &str, bytes: usize) -> Result<(), CeleryError> {
    if bytes <= LARGEST_MESSAGE {
        return Ok(());
    }
    Err(CeleryError::TooLarge {
        what: what.to_owned(),
        bytes,
        limit: LARGEST_MESSAGE,
    })
}

/// Reads a message. `what` names it in errors.
pub(crate) fn read_message(what: &str, bytes: &[u8]) -> Result<KombuMessage, CeleryError> {
    check_size(what, bytes.len())?;
    let malformed = |reason: String| CeleryError::Malformed {
        what: what.to_owned(),
        reason,
    };
    let envelope: Value = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let content_type = envelope["content-type"].as_str().unwrap_or("application/json");
    if content_type != "application/json" {
        return Err(malformed(format!(
            "its content type is {content_type:?}; set the workers' serializers to `json`"
        )));
    }
    let headers = envelope["headers"].as_object().cloned().unwrap_or_default();
    let text = envelope["body"].as_str().unwrap_or_default();
    let body = match envelope["properties"]["body_encoding"].as_str() {
        Some("base64") => STANDARD
            .decode(text)
            .map_err(|error| malformed(format!("its body is not base64: {error}")))?,
        _ => text.as_bytes().to_vec(),
    };
    let body = match headers.get("compression").and_then(Value::as_str) {
        None => body,
        // The only name under which kombu registers zlib, for its aliases `zlib` and `gzip` as well.
        Some("application/x-gzip") => inflate(what, &body)?,
        Some(other) => return Err(malformed(format!("its compression {other:?} is not supported"))),
    };
    let body = serde_json::from_slice(&body).map_err(|error| malformed(format!("its body is no JSON: {error}")))?;
    Ok(KombuMessage { headers, body })
}

fn inflate(what: &str, bytes: &[u8]) -> Result<Vec<u8>, CeleryError> {
    let mut body = Vec::new();
    let most = LARGEST_MESSAGE as u64 + 1;
    ZlibDecoder::new(bytes)
        .take(most)
        .read_to_end(&mut body)
        .map_err(|error| CeleryError::Malformed {
            what: what.to_owned(),
            reason: format!("its body cannot be unpacked: {error}"),
        })?;
    check_size(what, body.len())?;
    Ok(body)
}

/// Writes a message. A list item that is no such message kills a worker, so that all of it is written here.
pub(crate) fn write_message(headers: &Value, body: &Value, route: &KombuRoute<'_>, correlation: &str) -> String {
    json!({
        "body": STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": correlation,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": route.exchange, "routing_key": route.routing_key},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": Uuid::new_v4().to_string(),
        },
    })
    .to_string()
}

/// Returns the id that a message of a queue has, without unpacking it.
pub(crate) fn message_id(bytes: &[u8]) -> Option<MessageId> {
    id_in(&serde_json::from_slice(bytes).ok()?)
}

fn id_in(envelope: &Value) -> Option<MessageId> {
    MessageId::parse(envelope["headers"]["id"].as_str()?).ok()
}

/// Says whether a message of a queue has this id. A worker that puts a message back writes it again with other bytes,
/// so that its id is all there is to go by.
pub(crate) fn is_message_with_id(bytes: &[u8], id: &MessageId) -> bool {
    holds_text(bytes, &id.to_string()) && message_id(bytes) == Some(*id)
}

/// Says the same of an entry of `unacked`, which is a list of message, exchange and routing key.
pub(crate) fn is_unacked_with_id(bytes: &[u8], id: &MessageId) -> bool {
    holds_text(bytes, &id.to_string())
        && serde_json::from_slice::<Value>(bytes).is_ok_and(|entry| id_in(&entry[0]) == Some(*id))
}

/// Most messages are passed over by their text alone: parsing them would take ten times as long.
fn holds_text(bytes: &[u8], text: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|bytes| bytes.contains(text))
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("a vector takes all bytes");
        encoder.finish().expect("a vector takes all bytes")
    }

    fn message(body: &[u8], headers: &Value) -> Vec<u8> {
        json!({
            "body": STANDARD.encode(body), "content-type": "application/json", "headers": headers,
            "properties": {"body_encoding": "base64"},
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn a_body_is_read_in_base64_plain_and_packed() {
        let written = write_message(
            &json!({"id": 1}),
            &json!({"a": ["é"]}),
            &KombuRoute {
                exchange: "",
                routing_key: "q",
            },
            "",
        );
        let read = read_message("it", written.as_bytes()).expect("it was written here");
        assert_eq!(read.body, json!({"a": ["é"]}));
        assert_eq!(read.headers.get("id"), Some(&json!(1)));
        let plain = br#"{"body": "[1]", "content-type": "application/json", "headers": {}, "properties": {}}"#;
        assert_eq!(read_message("it", plain).expect("a plain body").body, json!([1]));
        let packed = message(&packed(b"[2]"), &json!({"compression": "application/x-gzip"}));
        assert_eq!(read_message("it", &packed).expect("a packed body").body, json!([2]));
    }

    #[test]
    fn what_is_no_message_is_an_error_with_its_reason() {
        for (bytes, reason) in [
            (b"no".to_vec(), "expected"),
            (message(b"no", &json!({})), "its body is no JSON"),
            (
                message(b"[]", &json!({"compression": "application/x-bz2"})),
                "application/x-bz2",
            ),
            (
                message(b"[]", &json!({"compression": "application/x-gzip"})),
                "cannot be unpacked",
            ),
            (
                br#"{"body": "", "content-type": "application/x-python-serialize"}"#.to_vec(),
                "set the workers' serializers to `json`",
            ),
            (
                br#"{"body": "%", "properties": {"body_encoding": "base64"}}"#.to_vec(),
                "not base64",
            ),
        ] {
            let error = read_message("the reply", &bytes).expect_err(reason).to_string();
            assert!(error.starts_with("the reply cannot be read"), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_also_where_it_is_small_until_it_is_unpacked() {
        let large = vec![b' '; LARGEST_MESSAGE + 1];
        assert!(matches!(read_message("it", &large), Err(CeleryError::TooLarge { .. })));
        let bomb = message(&packed(&large), &json!({"compression": "application/x-gzip"}));
        assert!(bomb.len() < LARGEST_MESSAGE / 10);
        assert!(matches!(read_message("it", &bomb), Err(CeleryError::TooLarge { .. })));
    }

    #[test]
    fn an_id_is_found_where_it_is_the_messages_and_not_where_it_is_mentioned() {
        let id = MessageId::generate();
        let own = json!({"headers": {"id": id.to_string()}});
        let child = json!({"headers": {"id": MessageId::generate().to_string(), "root_id": id.to_string()}});
        assert!(is_message_with_id(own.to_string().as_bytes(), &id));
        assert!(!is_message_with_id(child.to_string().as_bytes(), &id));
        assert!(is_unacked_with_id(json!([own, "", "q"]).to_string().as_bytes(), &id));
        assert!(!is_unacked_with_id(json!([child, "", "q"]).to_string().as_bytes(), &id));
        assert!(!is_message_with_id(b"\xff\xfe", &id));
    }
}
