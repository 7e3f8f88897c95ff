//! What a request's `input_data` becomes: its fingerprint, and the form in which it may be shown.

use onceover_wire::SECRET_INPUTS;
use serde::Serialize;
use serde_json::{Map, Value};

/// Fingerprint of the canonical input (R8): keys sorted, parameters that are null left out, whole numbers in
/// one spelling. Equal inputs have equal fingerprints; unequal ones differ.
pub fn fingerprint(input: &Map<String, Value>) -> String {
    let mut text = Vec::new();
    canonical_object(input, true, &mut text);
    blake3::hash(&text).to_hex().to_string()
}

fn canonical_object(object: &Map<String, Value>, skip_null: bool, out: &mut Vec<u8>) {
    let mut fields: Vec<_> = object
        .iter()
        .filter(|(_, value)| !(skip_null && value.is_null()))
        .collect();
    fields.sort_by_key(|(key, _)| *key);
    out.push(b'{');
    for (key, value) in fields {
        write_json(key, out);
        out.push(b':');
        canonical(value, out);
        out.push(b',');
    }
    out.push(b'}');
}

fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => canonical_object(object, false, out),
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        // 4 and 4.0 are the same number to JSON; beyond 2^53 a float is no longer exact.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 => {
                write_json(&(float as i64), out);
            }
            _ => write_json(number, out),
        },
        other => write_json(other, out),
    }
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("JSON can be written");
}

fn is_secret(key: &str, value: &Value) -> bool {
    SECRET_INPUTS.contains(&key) && !value.is_null()
}

/// Whether [`public`] hides anything of an input.
pub fn has_secrets(input: &Map<String, Value>) -> bool {
    fn hides(value: &Value) -> bool {
        match value {
            Value::Object(object) => has_secrets(object),
            Value::Array(items) => items.iter().any(hides),
            _ => false,
        }
    }
    input.iter().any(|(key, value)| is_secret(key, value) || hides(value))
}

/// The input as it may be shown: the values of `api_key`, `token`, `password` and `secret` are `***`, at any depth.
pub fn public(input: &Map<String, Value>) -> Map<String, Value> {
    let shown = |(key, value): (&String, &Value)| {
        let shown = if is_secret(key, value) {
            Value::from("***")
        } else {
            public_value(value)
        };
        (key.clone(), shown)
    };
    input.iter().map(shown).collect()
}

fn public_value(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(public(object)),
        Value::Array(items) => items.iter().map(public_value).collect(),
        other => other.clone(),
    }
}

/// The values that [`public`] hides, as texts.
pub fn secrets(input: &Map<String, Value>) -> Vec<String> {
    let mut secrets = Vec::new();
    for (key, value) in input {
        if is_secret(key, value) {
            add_texts(value, &mut secrets);
        } else {
            add_secrets(value, &mut secrets);
        }
    }
    secrets
}

fn add_secrets(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Object(object) => secrets.append(&mut self::secrets(object)),
        Value::Array(items) => items.iter().for_each(|item| add_secrets(item, secrets)),
        _ => {}
    }
}

/// A secret as a program may repeat it: a list or an object whole, and each text in it.
fn add_texts(value: &Value, secrets: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) => secrets.push(text.clone()),
        other => {
            secrets.push(other.to_string());
            match other {
                Value::Array(items) => items.iter().for_each(|item| add_texts(item, secrets)),
                Value::Object(object) => object.values().for_each(|item| add_texts(item, secrets)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> String {
        fingerprint(value.as_object().unwrap())
    }

    #[test]
    fn r8_the_fingerprint_ignores_order_spelling_and_nulls_and_nothing_else() {
        assert_eq!(
            of(json!({"a": 1, "b": [1, {"c": 2, "d": 3}]})),
            of(json!({"b": [1.0, {"d": 3, "c": 2}], "a": 1.0}))
        );
        assert_eq!(of(json!({"a": 1, "b": null})), of(json!({"a": 1})));
        for other in [
            json!({"a": "1"}),
            json!({"a": 1.5}),
            json!({"a": [1]}),
            json!({}),
            json!({"a": {"x": null}}),
        ] {
            assert_ne!(of(json!({"a": 1})), of(other.clone()), "{other}");
        }
        assert_ne!(of(json!({"a": ["x", "y"]})), of(json!({"a": ["y", "x"]})));
    }

    proptest! {
        #[test]
        fn r8_different_texts_have_different_fingerprints(a in ".*", b in ".*") {
            prop_assert_eq!(a == b, of(json!({"v": a})) == of(json!({"v": b})));
        }
    }

    #[test]
    fn secrets_are_not_shown_at_any_depth() {
        let input = json!({"token": "t", "password": null, "video_path": "v", "list": [1, [{"api_key": ["k1", 7]}]],
            "nested": {"secret": {"a": "s1"}, "other": {"password": "p", "secrets": "shown"}}});
        let input = input.as_object().unwrap();
        assert_eq!(
            Value::Object(public(input)),
            json!({"token": "***", "password": null, "video_path": "v", "list": [1, [{"api_key": "***"}]],
                "nested": {"secret": "***", "other": {"password": "***", "secrets": "shown"}}})
        );
        assert!(has_secrets(input));
        for (input, hides) in [
            (json!({"token": null, "secrets": "shown", "a": [{"b": 1}]}), false),
            (json!({"a": [{"b": [{"secret": 1}]}]}), true),
        ] {
            let input = input.as_object().unwrap();
            assert_eq!((has_secrets(input), public(input) != *input), (hides, hides));
        }
        let found = secrets(input);
        for secret in ["t", "k1", "[\"k1\",7]", "s1", "p"] {
            assert!(found.iter().any(|text| text == secret), "{secret} {found:?}");
        }
    }
}
