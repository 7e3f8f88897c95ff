//! What an answer has to look like, written as the answer itself: JSON in which some texts are words for many values.
//!
//! | word | what fits |
//! |---|---|
//! | `<any>` | whatever is there, null too |
//! | `<absent>` | nothing: the field is not there |
//! | `<text>`, `<number>`, `<bool>`, `<object>`, `<list>` | a value of that type; a text has a character |
//! | `<time>` | RFC 3339 in UTC with `Z` |
//! | `<local time>` | the same without a zone |
//! | `<begins x>`, `<ends x>`, `<contains x>` | such a text |
//! | `<one of a, b>` | one of these texts |
//!
//! An object fits when each of its fields fits: a client does not mind fields that it does not know. A list fits when it
//! has the same length and each element fits; `{"<each>": ...}` is a list of one or more that all fit, and
//! `{"<some>": ...}` one with an element that fits.

use serde_json::Value;

/// Tells where an answer differs from what it has to look like: nothing when it fits.
pub fn differences(expected: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, Some(got), &mut found);
    found
}

fn compare(place: &str, expected: &Value, got: Option<&Value>, found: &mut Vec<String>) {
    let Some(got) = got else {
        if expected != "<absent>" {
            found.push(format!("{} is not there; expected {expected}", named(place)));
        }
        return;
    };
    match expected {
        Value::String(word) if word.starts_with('<') && word.ends_with('>') => {
            if !fits_word(&word[1..word.len() - 1], got) {
                found.push(format!("{} is {}; expected {word}", named(place), short(got)));
            }
        }
        Value::Object(fields) => match fields.iter().next() {
            Some((word, each)) if word == "<each>" || word == "<some>" => {
                compare_elements(place, word == "<each>", each, got, found);
            }
            _ if !got.is_object() => found.push(format!("{} is {}; expected an object", named(place), short(got))),
            _ => {
                for (name, expected) in fields {
                    compare(&format!("{place}.{name}"), expected, got.get(name), found);
                }
            }
        },
        Value::Array(elements) => match got.as_array() {
            Some(list) if list.len() == elements.len() => {
                for (index, (expected, got)) in elements.iter().zip(list).enumerate() {
                    compare(&format!("{place}[{index}]"), expected, Some(got), found);
                }
            }
            _ => found.push(format!("{} is {}; expected {expected}", named(place), short(got))),
        },
        _ if expected == got || is_same_number(expected, got) => {}
        _ => found.push(format!("{} is {}; expected {expected}", named(place), short(got))),
    }
}

fn compare_elements(place: &str, all: bool, expected: &Value, got: &Value, found: &mut Vec<String>) {
    let Some(list) = got.as_array().filter(|list| !list.is_empty()) else {
        found.push(format!(
            "{} is {}; expected a list of {expected}",
            named(place),
            short(got)
        ));
        return;
    };
    if all {
        for (index, got) in list.iter().enumerate() {
            compare(&format!("{place}[{index}]"), expected, Some(got), found);
        }
    } else if !list.iter().any(|got| differences(expected, got).is_empty()) {
        found.push(format!(
            "{} is {}; expected one that fits {expected}",
            named(place),
            short(got)
        ));
    }
}

fn fits_word(word: &str, got: &Value) -> bool {
    let text = got.as_str();
    let (kind, rest) = word.split_once(' ').unwrap_or((word, ""));
    match (kind, rest) {
        ("any", "") => true,
        ("absent", "") => false,
        ("text", "") => text.is_some_and(|text| !text.is_empty()),
        ("number", "") => got.is_number(),
        ("bool", "") => got.is_boolean(),
        ("object", "") => got.is_object(),
        ("list", "") => got.is_array(),
        ("time", "") => text.is_some_and(|text| text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()),
        ("local", "time") => text.is_some_and(|text| {
            text.parse::<jiff::Timestamp>().is_err() && text.parse::<jiff::civil::DateTime>().is_ok()
        }),
        ("begins", start) => text.is_some_and(|text| text.starts_with(start)),
        ("ends", end) => text.is_some_and(|text| text.ends_with(end)),
        ("contains", part) => text.is_some_and(|text| text.contains(part)),
        ("one", words) => text.is_some_and(|text| {
            let words = words.strip_prefix("of ").unwrap_or_default();
            words.split(", ").any(|word| word == text)
        }),
        _ => panic!("<{word}> is no word of a pattern"),
    }
}

fn is_same_number(one: &Value, other: &Value) -> bool {
    one.is_number() && one.as_f64() == other.as_f64()
}

fn named(place: &str) -> &str {
    match place.trim_start_matches('.') {
        "" => "the answer",
        place => place,
    }
}

/// The value as JSON, cut.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn fits(expected: &Value, got: &Value) {
        assert_eq!(differences(expected, got), Vec::<String>::new());
    }

    #[track_caller]
    fn differs(expected: &Value, got: &Value, why: &str) {
        assert_eq!(differences(expected, got), [why]);
    }

    #[test]
    fn fields_that_are_not_expected_do_not_matter_and_missing_ones_do() {
        fits(&json!({"a": {"b": 1}}), &json!({"a": {"b": 1.0, "c": 2}, "d": 3}));
        differs(
            &json!({"a": {"b": 1}}),
            &json!({"a": {}}),
            "a.b is not there; expected 1",
        );
        differs(&json!({"a": 1}), &json!([]), "the answer is []; expected an object");
        differs(&json!({"a": null}), &json!({"a": 0}), "a is 0; expected null");
    }

    #[test]
    fn words_stand_for_values() {
        let got = json!({"n": 1, "t": "x", "e": "", "z": null, "o": {}, "l": [], "b": false});
        fits(
            &json!({"n": "<number>", "t": "<text>", "z": "<any>", "o": "<object>", "l": "<list>", "b": "<bool>",
                "u": "<absent>"}),
            &got,
        );
        differs(&json!({"e": "<text>"}), &got, r#"e is ""; expected <text>"#);
        differs(&json!({"n": "<text>"}), &got, "n is 1; expected <text>");
        differs(&json!({"z": "<absent>"}), &got, "z is null; expected <absent>");
        differs(&json!({"u": "<any>"}), &got, r#"u is not there; expected "<any>""#);
        fits(&json!("<begins task->"), &json!("task-1"));
        differs(
            &json!("<begins task->"),
            &json!("1"),
            r#"the answer is "1"; expected <begins task->"#,
        );
        fits(&json!("<one of a, b>"), &json!("b"));
        differs(
            &json!("<one of a, b>"),
            &json!("c"),
            r#"the answer is "c"; expected <one of a, b>"#,
        );
        fits(&json!("<contains b>"), &json!("abc"));
        fits(&json!("<ends c>"), &json!("abc"));
    }

    #[test]
    fn times_have_a_zone_or_have_none() {
        fits(&json!("<time>"), &json!("2026-11-27T08:00:00.000Z"));
        differs(
            &json!("<time>"),
            &json!("2026-11-27T08:00:00+01:00"),
            r#"the answer is "2026-11-27T08:00:00+01:00"; expected <time>"#,
        );
        fits(&json!("<local time>"), &json!("2026-11-22T01:22:46.600303"));
        differs(
            &json!("<local time>"),
            &json!("2026-11-27T08:00:00.000Z"),
            r#"the answer is "2026-11-27T08:00:00.000Z"; expected <local time>"#,
        );
    }

    #[test]
    fn lists_fit_element_by_element_each_or_some() {
        fits(&json!([1, "<text>"]), &json!([1, "a"]));
        differs(&json!([1]), &json!([1, 2]), "the answer is [1,2]; expected [1]");
        fits(&json!({"<each>": {"a": "<number>"}}), &json!([{"a": 1}, {"a": 2}]));
        differs(
            &json!({"<each>": "<number>"}),
            &json!([1, "a"]),
            r#"[1] is "a"; expected <number>"#,
        );
        differs(
            &json!({"<each>": "<number>"}),
            &json!([]),
            r#"the answer is []; expected a list of "<number>""#,
        );
        fits(&json!({"<some>": 2}), &json!([1, 2]));
        differs(
            &json!({"<some>": 3}),
            &json!([1, 2]),
            "the answer is [1,2]; expected one that fits 3",
        );
    }
}
