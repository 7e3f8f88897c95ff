//! A language model for tests: it does what the nodes ask in a way that can be foretold, and misbehaves in the ways that
//! real ones do, as many of them at once as a test wants. `ChatServer::serve` puts it behind the API of OpenAI.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

/// One way in which a model or its server misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Its reasoning stands in front of the reply.
    Think,
    /// The same, of which the template has the opening mark.
    ThinkUnopened,
    /// The reply lies in a fence of Markdown.
    Fence,
    /// Words for people before the reply.
    Preamble,
    /// Lines as text, whatever was asked for.
    Plain,
    /// Lines without their keys.
    Keyless,
    /// Each key is one too high.
    ShiftedKeys,
    /// The line with this text is merged into the one before, and the rest is numbered on.
    Slip(String),
    /// The line with this text is merged into the one before, and its key is left out.
    Merge(String),
    /// Every so manyth line is left out.
    Missing(usize),
    /// Each line repeats the columns of the question.
    EchoColumns,
    /// Each line comes back as it was.
    EchoSource,
    /// The line with this text is never translated within its budget.
    TooLong(String),
    /// The line with this text is answered by a whole paragraph.
    Rambles(String),
    /// A question with the line of this text is filtered.
    Filtered(String),
    /// A reply of more lines than this is cut.
    CutBehind(usize),
    /// Content is empty, and reasoning is beside it.
    ReasoningAlone,
    /// `max_tokens` is refused.
    RefusesMaxTokens,
    /// A temperature other than 1 is refused.
    RefusesTemperature,
    /// A `response_format` of `json_schema` is refused.
    RefusesSchema,
    /// Any `response_format` is refused.
    RefusesResponseFormat,
    /// The first so many requests are answered 429, with this Retry-After in seconds.
    Busy(usize, u32),
}

use Misbehaviour as M;

/// A model with its misbehaviours.
#[derive(Debug, Default)]
pub struct ModelServer {
    misbehaviours: Vec<Misbehaviour>,
    answered: AtomicUsize,
}

/// What the server sends.
#[derive(Debug)]
pub struct Sent {
    pub status: u16,
    pub retry_after: Option<u32>,
    pub body: Value,
}

/// One line of a translation's question.
#[derive(Debug, Clone)]
struct Asked {
    key: usize,
    columns: String,
    budget: usize,
    text: String,
}

/// What the model makes of a line: its letters backwards, as many as its budget allows.
pub fn translated(text: &str, budget: usize) -> String {
    let backwards: String = text.chars().rev().take(budget).collect();
    backwards.trim().to_owned()
}

/// What the model makes of a text that it proof-reads.
pub fn proof_read(text: &str) -> String {
    text.replace("teh", "the").replace("Teh", "The")
}

impl ModelServer {
    pub fn new(misbehaviours: impl IntoIterator<Item = Misbehaviour>) -> Self {
        Self {
            misbehaviours: misbehaviours.into_iter().collect(),
            answered: AtomicUsize::new(0),
        }
    }

    /// Answers the body of a request.
    pub fn answer(&self, body: &Value) -> Sent {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        if let Some(refused) = self.refuse(body, number) {
            return refused;
        }
        let user = message(body, "user");
        let lines = lines(user);
        if self.has(&M::ReasoningAlone) {
            return completion(Value::Null, "stop", Some("The user wants ..."));
        }
        let is_in = |text: &str| user.lines().any(|line| line.ends_with(text));
        if self
            .misbehaviours
            .iter()
            .any(|fault| matches!(fault, M::Filtered(text) if is_in(text)))
        {
            return completion("".into(), "content_filter", None);
        }
        if self
            .misbehaviours
            .iter()
            .any(|fault| matches!(fault, M::CutBehind(most) if lines.len() > *most))
        {
            return completion("1 | half a".into(), "length", None);
        }
        let reply = if lines.is_empty() {
            proof_read(user)
        } else {
            self.translate(body, lines)
        };
        completion(self.wrapped(reply).into(), "stop", None)
    }

    fn has(&self, fault: &Misbehaviour) -> bool {
        self.misbehaviours.contains(fault)
    }

    fn refuse(&self, body: &Value, number: usize) -> Option<Sent> {
        let refused = |param: &str, message: String| {
            let error = json!({"message": message, "type": "invalid_request_error", "param": param});
            Some(Sent {
                status: 400,
                retry_after: None,
                body: json!({ "error": error }),
            })
        };
        let format = body.pointer("/response_format/type").and_then(Value::as_str);
        for fault in &self.misbehaviours {
            match fault {
                M::Busy(count, after) if number < *count => {
                    let body = json!({"error": {"message": "slow down"}});
                    return Some(Sent {
                        status: 429,
                        retry_after: Some(*after),
                        body,
                    });
                }
                M::RefusesMaxTokens if body.get("max_tokens").is_some() => {
                    return refused(
                        "max_tokens",
                        "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                         'max_completion_tokens' instead."
                            .into(),
                    );
                }
                M::RefusesTemperature if body.get("temperature").is_some_and(|number| *number != 1.0) => {
                    return refused(
                        "temperature",
                        "Unsupported value: 'temperature' does not support this value.".into(),
                    );
                }
                M::RefusesSchema if format == Some("json_schema") => {
                    return refused("response_format", "This response_format type is unavailable now".into());
                }
                M::RefusesResponseFormat if format.is_some() => {
                    return refused("response_format", "response_format is not supported".into());
                }
                _ => {}
            }
        }
        None
    }

    fn translate(&self, body: &Value, lines: Vec<Asked>) -> String {
        let wants_json = body.get("response_format").is_some() || message(body, "user").contains("JSON");
        let first_words = |text: &str| text.split_whitespace().take(5).collect::<Vec<_>>().join(" ");
        let mut items: Vec<(usize, String, String)> = Vec::new();
        for (position, line) in lines.iter().enumerate() {
            if self
                .misbehaviours
                .iter()
                .any(|fault| matches!(fault, M::Missing(nth) if (position + 1) % nth == 0))
            {
                continue;
            }
            let is_this = |text: &String| *text == line.text;
            let merged = self.misbehaviours.iter().find(|fault| match fault {
                M::Slip(text) | M::Merge(text) => is_this(text),
                _ => false,
            });
            if let (Some(_), Some(last)) = (merged, items.last_mut()) {
                last.1.push(' ');
                last.1.push_str(&translated(&line.text, line.budget));
                continue;
            }
            let fault = self.misbehaviours.iter().find(|fault| match fault {
                M::TooLong(text) | M::Rambles(text) => is_this(text),
                M::EchoSource => true,
                _ => false,
            });
            let text = match fault {
                Some(M::TooLong(_)) => "x".repeat(line.budget + 1),
                Some(M::Rambles(_)) => "word ".repeat(100),
                Some(_) => line.text.clone(),
                None => translated(&line.text, line.budget),
            };
            items.push((line.key, text, first_words(&line.text)));
        }
        let slips = self.misbehaviours.iter().any(|fault| matches!(fault, M::Slip(_)));
        for (position, item) in items.iter_mut().enumerate() {
            if slips {
                item.0 = position + 1;
            }
            if self.has(&M::ShiftedKeys) {
                item.0 += 1;
            }
        }
        if wants_json && !self.has(&M::Plain) && !self.has(&M::Keyless) {
            let lines: Vec<_> = items
                .into_iter()
                .map(|(key, text, source)| json!({"key": key, "source": source, "text": text}))
                .collect();
            return json!({ "lines": lines }).to_string();
        }
        let columns = |key: usize| {
            lines
                .iter()
                .find(|line| line.key == key)
                .map(|line| line.columns.clone())
        };
        items
            .into_iter()
            .map(
                |(key, text, _)| match (self.has(&M::Keyless), self.has(&M::EchoColumns)) {
                    (true, _) => format!("{text}\n"),
                    (false, true) => format!("{key} | {} | {text}\n", columns(key).unwrap_or_default()),
                    (false, false) => format!("{key} | {text}\n"),
                },
            )
            .collect()
    }

    fn wrapped(&self, mut reply: String) -> String {
        if self.has(&M::Fence) {
            reply = format!("```\n{reply}\n```");
        }
        if self.has(&M::Preamble) {
            reply = format!("Here is what you asked for:\n\n{reply}");
        }
        if self.has(&M::Think) {
            reply = format!("<think>\nLet me see.\n1 | wrong\n</think>\n\n{reply}");
        }
        if self.has(&M::ThinkUnopened) {
            reply = format!("Let me see.\n1 | wrong\n</think>\n\n{reply}");
        }
        reply
    }
}

fn message<'a>(body: &'a Value, role: &str) -> &'a str {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let message = messages.iter().find(|message| message["role"] == role);
    message
        .and_then(|message| message["content"].as_str())
        .unwrap_or_default()
}

/// `key | seconds | budget | text`, one a line.
fn lines(user: &str) -> Vec<Asked> {
    let line = |line: &str| {
        let parts: Vec<&str> = line.splitn(4, " | ").collect();
        let [key, seconds, budget, text] = parts[..] else {
            return None;
        };
        seconds.parse::<f64>().ok()?;
        Some(Asked {
            key: key.parse().ok()?,
            columns: format!("{seconds} | {budget}"),
            budget: budget.parse().ok()?,
            text: text.to_owned(),
        })
    };
    user.lines().filter_map(line).collect()
}

fn completion(content: Value, finish: &str, reasoning: Option<&str>) -> Sent {
    let message = json!({"role": "assistant", "content": content, "reasoning_content": reasoning});
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    });
    Sent {
        status: 200,
        retry_after: None,
        body,
    }
}
