//! Inputs whose values are never shown: stars stand for them, as many as there are characters.

use onceover_wire::SECRET_INPUTS;
use serde_json::{Map, Value};

/// Stands for a secret that is no text.
const NO_TEXT: &str = "***";
/// Lines of a document that begin with it are dropped when it is read.
const COMMENT: &str = "//";

/// Whether the values of inputs with this name are secret.
pub fn is_secret_name(name: &str) -> bool {
    SECRET_INPUTS.contains(&name)
}

/// Returns the input without its secrets, at any depth.
pub fn hide_input(input: &Map<String, Value>) -> Map<String, Value> {
    let hide = |(name, value): (&String, &Value)| (name.clone(), hide_value(value, is_secret_name(name)));
    input.iter().map(hide).collect()
}

/// Returns a value without what is secret in it, or all of it.
pub fn hide_value(value: &Value, is_secret: bool) -> Value {
    match value {
        Value::String(text) if is_secret => Value::String(cover(text)),
        Value::Number(_) | Value::Bool(_) if is_secret => Value::from(NO_TEXT),
        Value::Array(items) => items.iter().map(|item| hide_value(item, is_secret)).collect(),
        Value::Object(fields) => {
            let hide = |(name, value): (&String, &Value)| {
                let is_secret = is_secret || is_secret_name(name);
                (name.clone(), hide_value(value, is_secret))
            };
            Value::Object(fields.iter().map(hide).collect())
        }
        other => other.clone(),
    }
}

/// Returns a document of JSON without its secrets. Everything else stays where it is, also where the document cannot be
/// read.
pub fn hide_in_document(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut state = SecretScan::default();
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with(COMMENT) {
            SecretScan::default().hide_line(line, &mut hidden);
        } else {
            state.hide_line(line, &mut hidden);
        }
    }
    hidden
}

/// Where in a document a reader is.
#[derive(Debug, Default)]
struct SecretScan {
    /// The last word was the name of a secret.
    is_named: bool,
    /// Brackets that were opened in the value of a secret; `None` outside of one.
    depth: Option<usize>,
}

impl SecretScan {
    fn hide_line(&mut self, line: &str, hidden: &mut String) {
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let (token, after) = rest.split_at(find_token_end(rest, first));
            rest = after;
            if is_mark(first) {
                self.pass(first);
                hidden.push(first);
            } else if self.depth.is_some() {
                hidden.push_str(&cover_token(token));
            } else {
                self.is_named = is_secret_name(&read_text(token).unwrap_or_else(|| token.to_owned()));
                hidden.push_str(token);
            }
        }
    }

    /// Goes past a mark.
    fn pass(&mut self, mark: char) {
        match (mark, self.depth) {
            (':', None) if self.is_named => self.depth = Some(0),
            ('{' | '[', Some(depth)) => self.depth = Some(depth + 1),
            ('}' | ']' | ',', Some(0)) => self.depth = None,
            ('}' | ']', Some(depth)) => self.depth = Some(depth - 1),
            _ => {}
        }
        if !mark.is_whitespace() {
            self.is_named = false;
        }
    }
}

fn is_mark(c: char) -> bool {
    c.is_whitespace() || ",:{}[]".contains(c)
}

/// Finds the end of the text, word or mark that begins here. A text ends with its line, whether it is closed or not.
fn find_token_end(rest: &str, first: char) -> usize {
    if is_mark(first) {
        return first.len_utf8();
    }
    if first != '"' {
        return rest.find(|c: char| c == '"' || is_mark(c)).unwrap_or(rest.len());
    }
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Reads a text in quotes; `None` if it is none.
fn read_text(token: &str) -> Option<String> {
    serde_json::from_str(token).ok()
}

/// Covers a text or a word of a secret; what JSON knows a word for stays of its kind.
fn cover_token(token: &str) -> String {
    if let Some(text) = read_text(token) {
        return format!("\"{}\"", cover(&text));
    }
    if matches!(token, "null" | "true" | "false") {
        return token.to_owned();
    }
    let is_number = token.parse::<f64>().is_ok();
    let covered = token.chars().map(|c| match c {
        '"' => '"',
        '0'..='9' if is_number => '1',
        other if is_number => other,
        _ => '*',
    });
    covered.collect()
}

fn cover(text: &str) -> String {
    "*".repeat(text.chars().count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tui19_a_document_keeps_everything_but_its_secrets_readable_or_not() {
        for (text, expected) in [
            (
                r#"{"input_data": {"api_key": "sk-1", "a": "b"}}"#,
                r#"{"input_data": {"api_key": "****", "a": "b"}}"#,
            ),
            (r#"{"token" : 123.5, "a": 1}"#, r#"{"token" : 111.1, "a": 1}"#),
            (r#"{"secret": null, "x": "y"}"#, r#"{"secret": null, "x": "y"}"#),
            (
                "{\"password\": {\"a\": [\"b\", \"c\"]},\n \"d\": \"e\"}",
                "{\"password\": {\"*\": [\"*\", \"*\"]},\n \"d\": \"e\"}",
            ),
            (
                "// \"api_key\": \"sk-1\",\n{\"a\": \"b\"}",
                "// \"api_key\": \"****\",\n{\"a\": \"b\"}",
            ),
            ("// a \" alone\n{\"token\": \"t\"}", "// a \" alone\n{\"token\": \"*\"}"),
            (
                "{\"api\\u005fkey\": sk-1, \"a\": 2",
                "{\"api\\u005fkey\": ****, \"a\": 2",
            ),
            ("{\"token\": \"never closed\n", "{\"token\": \"************\n"),
        ] {
            assert_eq!(hide_in_document(text), expected);
        }
    }

    #[test]
    fn tui19_an_input_is_shown_without_its_secrets_at_any_depth() {
        let Value::Object(input) = json!({"a": [{"token": "강의1"}], "secret": 5, "password": null, "b": true})
        else {
            panic!("it is an object");
        };
        let hidden = Value::Object(hide_input(&input));
        assert_eq!(
            hidden,
            json!({"a": [{"token": "***"}], "secret": "***", "password": null, "b": true})
        );
    }
}
