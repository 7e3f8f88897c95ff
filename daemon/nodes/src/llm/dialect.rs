//! The dialect of a provider. All speak OpenAI's chat completions, and each refuses other parameters: what a refusal
//! names is sent in another way or omitted, and that is remembered for as long as the daemon runs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::providers::Provider;
use crate::llm::ResponseFormat;

/// What a reply must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Any text.
    Text,
    /// Lines, each under its key.
    Lines,
}

/// The name under which a provider takes the limit of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenLimit {
    MaxTokens,
    MaxCompletionTokens,
    /// It takes none.
    Unsent,
}

/// Which parameters are sent to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dialect {
    limit: TokenLimit,
    /// The longest reply that it allows, if it has named one.
    most_tokens: Option<u32>,
    temperature: bool,
    format: ResponseFormat,
    /// Keys of the provider's `body` that are omitted.
    left_out: BTreeSet<String>,
}

impl Dialect {
    pub(super) fn new(provider: &Provider) -> Self {
        Self {
            limit: TokenLimit::MaxTokens,
            most_tokens: None,
            temperature: provider.temperature.is_some(),
            format: provider.response_format,
            left_out: BTreeSet::new(),
        }
    }

    /// Returns the body of a request.
    pub(super) fn body(&self, provider: &Provider, system: &str, user: &str, shape: Shape) -> Value {
        let mut messages = Vec::new();
        if !system.trim().is_empty() {
            messages.push(json!({"role": "system", "content": system}));
        }
        messages.push(json!({"role": "user", "content": user}));
        let mut body: Map<String, Value> = provider
            .body
            .iter()
            .filter(|(key, _)| !self.left_out.contains(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        body.insert("model".into(), json!(provider.model));
        body.insert("messages".into(), messages.into());
        let most = self.max_tokens(provider);
        match self.limit {
            TokenLimit::MaxTokens => body.insert("max_tokens".into(), most.into()),
            TokenLimit::MaxCompletionTokens => body.insert("max_completion_tokens".into(), most.into()),
            TokenLimit::Unsent => None,
        };
        if let (true, Some(temperature)) = (self.temperature, provider.temperature) {
            body.insert("temperature".into(), temperature.into());
        }
        if shape == Shape::Lines
            && let Some(format) = response_format(self.format)
        {
            body.insert("response_format".into(), format);
        }
        body.into()
    }

    /// Whether lines are asked for as JSON.
    pub(super) fn is_json(&self) -> bool {
        self.format != ResponseFormat::Text
    }

    /// Tokens of the longest reply.
    pub(super) fn max_tokens(&self, provider: &Provider) -> u32 {
        self.most_tokens
            .map_or(provider.max_tokens, |most| most.min(provider.max_tokens))
    }

    /// Returns the dialect that a refused request leads to, and what differs in words; `None` where the refusal names
    /// nothing that could be asked another way. Each step leaves less to refuse, so there are a few at most.
    pub(super) fn after(&self, refused: &Value, why: &str) -> Option<(Self, String)> {
        let why = why.to_lowercase();
        let mut next = self.clone();
        let sent = |key: &str| refused.get(key).is_some();
        let names = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if sent("response_format") && names(&["response_format", "json_schema", "json_object", "json mode", "grammar"])
        {
            next.format = match self.format {
                ResponseFormat::JsonSchema => ResponseFormat::JsonObject,
                ResponseFormat::JsonObject | ResponseFormat::Text => ResponseFormat::Text,
            };
            let words = format!("response_format {}", in_words(next.format));
            return Some((next, words));
        }
        if sent("temperature") && names(&["temperature"]) {
            next.temperature = false;
            return Some((next, "no temperature".into()));
        }
        let limit = ["max_tokens", "max_completion_tokens"]
            .into_iter()
            .find(|key| sent(key));
        // If question and longest reply together are too long, the server uses what is left if no limit is sent.
        let is_context = is_too_long(&why);
        if let Some(key) = limit
            && (names(&["max_tokens", "max_completion_tokens"]) || is_context && names(&["completion"]))
        {
            let asked = refused.get(key).and_then(Value::as_u64).unwrap_or_default();
            if !is_context && let Some(most) = allowed(&why, asked) {
                next.most_tokens = Some(most);
                return Some((next, format!("{key} {most}")));
            }
            next.limit = match self.limit {
                TokenLimit::MaxTokens if !is_context => TokenLimit::MaxCompletionTokens,
                _ => TokenLimit::Unsent,
            };
            let words = match next.limit {
                TokenLimit::MaxCompletionTokens => "max_completion_tokens",
                TokenLimit::MaxTokens | TokenLimit::Unsent => "no limit of tokens",
            };
            return Some((next, words.into()));
        }
        let extra = refused
            .as_object()?
            .keys()
            .filter(|key| !matches!(key.as_str(), "model" | "messages"))
            .find(|key| names(&[&key.to_lowercase()]))?;
        next.left_out.insert(extra.clone());
        Some((next, format!("no {extra}")))
    }

    /// Returns what is sent beside the conversation, for people.
    pub(super) fn in_words(&self, provider: &Provider) -> String {
        let mut words = vec![match self.limit {
            TokenLimit::MaxTokens => format!("max_tokens {}", self.max_tokens(provider)),
            TokenLimit::MaxCompletionTokens => format!("max_completion_tokens {}", self.max_tokens(provider)),
            TokenLimit::Unsent => "no limit of tokens".into(),
        }];
        if let (true, Some(temperature)) = (self.temperature, provider.temperature) {
            words.push(format!("temperature {temperature}"));
        }
        words.push(format!("response_format {}", in_words(self.format)));
        words.extend(
            provider
                .body
                .iter()
                .filter(|(key, _)| !self.left_out.contains(*key))
                .map(|(key, value)| format!("{key} {value}")),
        );
        words.join(", ")
    }
}

/// Whether a refusal says that the question, with or without its reply, is longer than the model can take.
pub(super) fn is_too_long(why: &str) -> bool {
    let why = why.to_lowercase();
    [
        "context length",
        "context_length",
        "context window",
        "context size",
        "prompt is too long",
    ]
    .iter()
    .any(|words| why.contains(words))
}

fn in_words(format: ResponseFormat) -> &'static str {
    match format {
        ResponseFormat::JsonSchema => "json_schema",
        ResponseFormat::JsonObject => "json_object",
        ResponseFormat::Text => "none",
    }
}

/// Returns the largest number below the one asked for that a refusal names: "the valid range of max_tokens is [1,
/// 8192]".
fn allowed(why: &str, asked: u64) -> Option<u32> {
    let numbers = why.split(|c: char| !c.is_ascii_digit());
    let most = numbers
        .filter_map(|digits| digits.parse::<u64>().ok())
        .filter(|number| (16..asked).contains(number))
        .max()?;
    u32::try_from(most).ok()
}

/// Returns the format of the reply. Its schema is the same for each question, so that a provider compiles it once.
fn response_format(format: ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(json!({"type": "json_object"})),
        ResponseFormat::JsonSchema => {
            let line = json!({
                "type": "object",
                "properties": {
                    "key": {"type": "integer"},
                    "source": {"type": "string"},
                    "text": {"type": "string"},
                },
                "required": ["key", "source", "text"],
                "additionalProperties": false,
            });
            let schema = json!({
                "type": "object",
                "properties": {"lines": {"type": "array", "items": line}},
                "required": ["lines"],
                "additionalProperties": false,
            });
            Some(json!({
                "type": "json_schema",
                "json_schema": {"name": "lines", "strict": true, "schema": schema},
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::providers::Providers, *};

    fn provider(settings: &str) -> Provider {
        let text = format!("[providers.x]\nurl = 'http://a'\nmodel = 'm'\n{settings}");
        let known = Providers::new(&toml::from_str(&text).unwrap(), |_| None).unwrap();
        known.get(Some("x")).unwrap().clone()
    }

    #[test]
    fn a_temperature_is_sent_only_when_it_is_set() {
        let plain = provider("");
        let body = Dialect::new(&plain).body(&plain, "do", "this", Shape::Text);
        assert_eq!(
            body,
            json!({"model": "m", "max_tokens": 8192, "messages": [
                {"role": "system", "content": "do"}, {"role": "user", "content": "this"},
            ]})
        );
        let sober = provider("temperature = 0.0\nbody = { top_p = 0.5 }");
        let body = Dialect::new(&sober).body(&sober, " ", "this", Shape::Lines);
        assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.0), &json!(0.5)));
        assert_eq!(body["messages"].as_array().unwrap().len(), 1);
        assert_eq!(body["response_format"]["json_schema"]["strict"], true);
    }

    #[test]
    fn what_a_refusal_names_is_asked_another_way_or_left_out() {
        let provider = provider("temperature = 0.3\nthinking_off = { reasoning_effort = 'none' }");
        let mut dialect = Dialect::new(&provider);
        let mut body = dialect.body(&provider, "", "x", Shape::Lines);
        for (why, key, value) in [
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "max_completion_tokens",
                json!(8192),
            ),
            (
                "Unsupported value: 'temperature' does not support 0.3 with this model.",
                "temperature",
                Value::Null,
            ),
            (
                "Invalid max_completion_tokens value, the valid range is [1, 4096]",
                "max_completion_tokens",
                json!(4096),
            ),
            (
                "This response_format type is unavailable now",
                "response_format",
                json!({"type": "json_object"}),
            ),
            ("'response_format.type' must be 'text'", "response_format", Value::Null),
            (
                "Unrecognized request argument supplied: reasoning_effort",
                "reasoning_effort",
                Value::Null,
            ),
            (
                "max_completion_tokens is too large: 4096. This model's maximum context length is 4096 tokens",
                "max_completion_tokens",
                Value::Null,
            ),
        ] {
            (dialect, _) = dialect.after(&body, why).unwrap_or_else(|| panic!("{why}"));
            body = dialect.body(&provider, "", "x", Shape::Lines);
            assert_eq!(body.get(key).cloned().unwrap_or_default(), value, "{why}");
        }
        assert_eq!(
            dialect.after(&body, "max_tokens, temperature and response_format"),
            None
        );
        assert_eq!(dialect.after(&body, "the model is not there"), None);
    }
}
