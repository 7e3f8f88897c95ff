//! Answers of providers: where the reply is, and which parts are reasoning or wrapping and do not belong to it.

use serde::Deserialize;
use serde_json::Value;

/// The part of an answer that counts.
#[derive(Deserialize)]
pub(super) struct ModelAnswer {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    pub(super) error: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    /// A text, or parts of one.
    #[serde(default)]
    content: Value,
    #[serde(default)]
    reasoning_content: Value,
    #[serde(default)]
    reasoning: Value,
    #[serde(default)]
    refusal: Value,
}

/// Why a reply ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Whole,
    /// At the limit of tokens.
    Length,
    /// The provider's filter held the reply back, or the model refused.
    Filtered,
}

/// A reply as it can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModelReply {
    pub(super) text: String,
    /// There was reasoning beside or before it.
    pub(super) reasoned: bool,
    pub(super) finish: Finish,
    /// Of question and reply.
    pub(super) tokens: Option<u64>,
}

impl ModelAnswer {
    /// Returns the first choice; `None` where there is none.
    pub(super) fn reply(self) -> Option<ModelReply> {
        let Choice { message, finish_reason } = self.choices.into_iter().next()?;
        let (text, inside) = without_reasoning(&text_of(&message.content));
        let said = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        let counted = self
            .usage
            .pointer("/completion_tokens_details/reasoning_tokens")
            .and_then(Value::as_u64);
        Some(ModelReply {
            text: without_fences(&text),
            reasoned: inside
                || said(&message.reasoning_content)
                || said(&message.reasoning)
                || counted.is_some_and(|tokens| tokens > 0)
                || has_thinking_part(&message.content),
            finish: match finish_reason.as_deref() {
                Some("length" | "max_tokens") => Finish::Length,
                Some("content_filter") => Finish::Filtered,
                _ if said(&message.refusal) => Finish::Filtered,
                _ => Finish::Whole,
            },
            tokens: self.usage.get("total_tokens").and_then(Value::as_u64),
        })
    }
}

/// Returns the reply in a content: a text, or a list of parts of which those of type `text` are the reply.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                part if part.get("type").is_none_or(|kind| kind == "text") => part.get("text")?.as_str(),
                _ => None,
            })
            .collect(),
        _ => String::new(),
    }
}

fn has_thinking_part(content: &Value) -> bool {
    let is_thinking = |part: &Value| {
        part.get("type")
            .is_some_and(|kind| kind == "thinking" || kind == "reasoning")
    };
    content.as_array().is_some_and(|parts| parts.iter().any(is_thinking))
}

/// How models mark their reasoning in the text itself.
const MARKS: [(&str, &str); 7] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
];
/// What a model of separate channels writes before its answer.
const FINAL: &str = "<|channel|>final<|message|>";

/// Returns the text without its reasoning, and whether there was some. A template may have the opening mark itself, so
/// that the text only has the closing one; reasoning that is not closed goes to the end.
pub(super) fn without_reasoning(text: &str) -> (String, bool) {
    if let Some((_, last)) = text.rsplit_once(FINAL) {
        let last = last.split("<|").next().unwrap_or_default();
        return (last.trim().to_owned(), true);
    }
    let mut rest = text.to_owned();
    let mut found = false;
    for (open, close) in MARKS {
        while let Some(start) = position(&rest, open) {
            let after = start + open.len();
            let end = position(&rest[after..], close).map_or(rest.len(), |at| after + at + close.len());
            rest.replace_range(start..end, "");
            found = true;
        }
        if let Some(end) = position(&rest, close) {
            rest.replace_range(..end + close.len(), "");
            found = true;
        }
    }
    (rest.trim().to_owned(), found)
}

/// Returns where a mark begins, whatever its case.
fn position(text: &str, mark: &str) -> Option<usize> {
    let (text, mark) = (text.as_bytes(), mark.as_bytes());
    text.windows(mark.len())
        .position(|part| part.eq_ignore_ascii_case(mark))
}

/// Returns the text without reasoning and fences.
#[cfg(test)]
pub(super) fn unwrapped(text: &str) -> String {
    without_fences(&without_reasoning(text).0)
}

/// Returns the text inside of one fence of Markdown that is around all of it, or alone in it with words before and
/// after.
fn without_fences(text: &str) -> String {
    const FENCE: &str = "```";
    let text = text.trim();
    if text.matches(FENCE).count() > 2 {
        // With several blocks it is not known which one counts, so only the fences are removed.
        let lines = text.lines().filter(|line| !line.trim_start().starts_with(FENCE));
        return lines.collect::<Vec<_>>().join("\n").trim().to_owned();
    }
    let Some((_, rest)) = text.split_once(FENCE) else {
        return text.to_owned();
    };
    let inside = rest.split_once(FENCE).map_or(rest, |(inside, _)| inside);
    // The first line of a block of several may name its language.
    match inside.split_once('\n') {
        Some((label, body)) if label.trim().chars().all(|c| c.is_ascii_alphanumeric()) => body.trim().to_owned(),
        _ => inside.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(message: Value) -> ModelReply {
        let answer = json!({"choices": [{"message": message, "finish_reason": "stop"}]});
        serde_json::from_value::<ModelAnswer>(answer).unwrap().reply().unwrap()
    }

    #[test]
    fn reasoning_in_the_text_is_taken_off() {
        for text in [
            "<think>\nFrench.\n\nHello is Bonjour.\n</think>\n\nBonjour",
            "<THINKING>x</THINKING>Bonjour",
            "French it is.\n</think>\nBonjour",
            "[THINK]x[/THINK]\nBonjour",
            "◁think▷嗯◁/think▷Bonjour",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Bonjour<|return|>",
            "<think>a</think><think>b</think>Bonjour",
        ] {
            assert_eq!(without_reasoning(text), ("Bonjour".into(), true), "{text}");
        }
        assert_eq!(without_reasoning(" I think > so "), ("I think > so".into(), false));
        assert_eq!(without_reasoning("<think>never closed"), (String::new(), true));
    }

    #[test]
    fn fences_are_taken_off() {
        for text in [
            "```\nBonjour\n```",
            "```json\nBonjour\n```",
            "Here it is:\n```srt\nBonjour\n```\nAnything else?",
            "```\nBonjour",
            "```Bonjour```",
            "Bonjour",
        ] {
            assert_eq!(without_fences(text), "Bonjour", "{text}");
        }
        assert_eq!(without_fences("```\na\n```\n```\nb\n```"), "a\nb");
    }

    #[test]
    fn a_reply_is_a_text_or_parts_and_reasoning_lies_beside_it() {
        assert_eq!(reply(json!({"content": "a"})).text, "a");
        let parts = json!([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}]);
        let parts = reply(json!({"content": parts}));
        assert_eq!((parts.text.as_str(), parts.reasoned), ("a", true));
        for beside in ["reasoning_content", "reasoning"] {
            let empty = reply(json!({"content": null, beside: "much thought"}));
            assert_eq!((empty.text.as_str(), empty.reasoned), ("", true));
        }
        assert!(!reply(json!({"content": "", "reasoning": ""})).reasoned);
        assert_eq!(reply(json!({"refusal": "No."})).finish, Finish::Filtered);
    }
}
