use proptest::prelude::*;
use serde_json::json;

use super::*;

const HELLO: [Asked<'static>; 2] = [
    Asked {
        key: 1,
        source: "Hello",
        columns: "4.00 | 42",
    },
    Asked {
        key: 2,
        source: "All is well",
        columns: "4.00 | 42",
    },
];

const LONG: [&str; 6] = [
    "and the correct sequence",
    "of its editing",
    "which nobody knew about",
    "Good morning to you all",
    "I am here today",
    "and you are there",
];

fn asked<'a>(sources: &'a [&'a str]) -> Vec<Asked<'a>> {
    let line = |(at, source): (usize, &&'a str)| Asked {
        key: at + 1,
        source,
        columns: "",
    };
    sources.iter().enumerate().map(line).collect()
}

fn texts(reply: &str, asked: &[Asked<'_>]) -> Vec<(usize, String)> {
    read(reply, asked)
        .unwrap_or_else(|why| panic!("{reply}: {why}"))
        .texts
        .into_iter()
        .collect()
}

#[test]
fn every_form_of_a_keyed_reply_is_read() {
    for reply in [
        r#"{"lines":[{"key":1,"source":"Hello","text":"Bonjour"},{"key":2,"source":"All is","text":"Tout va bien"}]}"#,
        r#"[{"index":"1","translation":"Bonjour"},{"index":"2","translation":"Tout va bien"}]"#,
        r#"{"1":"Bonjour","2":"Tout va bien"}"#,
        r#"{"translations":{"1":"Bonjour","2":"Tout va bien"}}"#,
        r#"{"1":{"text":"Bonjour"},"2":{"text":"Tout va bien"}}"#,
        "{\"key\":2,\"text\":\"Tout va bien\"}\n{\"key\":1,\"text\":\"Bonjour\"}",
        "Here you are:\n{\"1\":\"Bonjour\",\"2\":\"Tout va bien\"}",
        "1 | Bonjour\n2 | Tout va bien",
        "2 | Tout va bien\n1 | Bonjour",
        "1. Bonjour\n2. Tout va bien",
        "1: Bonjour\r\n\r\n2: Tout va bien",
        "[1] Bonjour\n[2] Tout va bien",
        "1 | 4.00 | 42 | Bonjour\n2 | 4.00 | 42 | Tout va bien",
        "1 | Hello | Bonjour\n2 | All is well -> Tout va bien",
        "Sure! Here are the lines:\n1 | \"Bonjour\"\n2 | «Tout va bien»",
        "Bonjour\nTout va bien",
        "\"Bonjour\"\n\"Tout va bien\"",
        r#"{"lines":[{"key":1,"source":"","text":"1 | Bonjour"},{"key":2,"source":"","text":"2 | Tout va bien"}]}"#,
    ] {
        let expected = [(1, "Bonjour".to_owned()), (2, "Tout va bien".to_owned())];
        assert_eq!(texts(reply, &HELLO), expected, "{reply}");
    }
}

#[test]
fn a_reply_whose_lines_cannot_be_told_apart_is_refused() {
    let four = asked(&LONG[..4]);
    for reply in [
        "",
        "la séquence correcte\nque nul ne savait\nBonjour\nà tous",
        "la séquence correcte\nBonjour",
        // Numbered on from what came before.
        "2 | la séquence\n3 | correcte\n4 | que nul\n5 | Bonjour",
        // Merged, and the last key left over.
        "1 | la séquence correcte\n2 | que nul ne savait\n3 | Bonjour à tous",
        r#"["la séquence","correcte","que nul","Bonjour"]"#,
        r#"{"lines":[{"key":1,"text":"la"#,
        "I am sorry, I cannot do that.",
    ] {
        assert!(read(reply, &four).is_err(), "{reply}: {:?}", read(reply, &four));
    }
    assert!(read("Here is the translation:\nBonjour. Tout va bien", &HELLO).is_err());
}

#[test]
fn a_line_that_names_another_source_is_not_taken() {
    let lines = asked(&LONG);
    let items: Vec<_> = [(1, 0), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5)]
        .map(|(key, source)| json!({"key": key, "source": &LONG[source][..10], "text": format!("t{key}")}))
        .into();
    let matched = read(&json!({"lines": items}).to_string(), &lines).unwrap();
    assert_eq!(matched.texts.keys().copied().collect::<Vec<_>>(), [1, 4, 5, 6]);
    assert_eq!(matched.doubts[0], (2, "names another line as its source"));
}

#[test]
fn echoes_duplicates_and_what_follows_a_line_are_doubts() {
    let lines = asked(&LONG[..3]);
    let reply = "1 | and the correct sequence\n2 | de son montage\n(a note)\n3 | que nul ne savait";
    let matched = read(reply, &lines).unwrap();
    assert_eq!(matched.texts.keys().copied().collect::<Vec<_>>(), [3]);
    let twice = read("1 | a\n2 | b\n2 | c\n3 | d", &lines).unwrap();
    assert_eq!(twice.texts.keys().copied().collect::<Vec<_>>(), [1, 3]);
    // What is missing may be in the lines beside it.
    let lines = asked(&LONG);
    let merged = read(r#"{"1":"a","2":"b c","4":"d","5":"e","6":"f"}"#, &lines).unwrap();
    assert_eq!(merged.texts.keys().copied().collect::<Vec<_>>(), [1, 5, 6]);
    // A name stays what it is, unless all came back.
    assert_eq!(texts("1 | Paris\n2 | Bonjour", &asked(&["Paris", "Hello"])).len(), 2);
    let all = read("1 | Paris\n2 | Hello", &asked(&["Paris", "Hello"])).unwrap();
    assert!(all.texts.is_empty());
}

#[test]
fn a_single_line_that_begins_with_a_number_is_no_key() {
    let one = |source| {
        [Asked {
            key: 1,
            source,
            columns: "",
        }]
    };
    assert_eq!(
        texts("3. Dezember", &one("The third of December")),
        [(1, "3. Dezember".into())]
    );
    assert_eq!(texts("1. Bonjour", &one("Hello")), [(1, "Bonjour".into())]);
    assert!(read("1. Mai", &one("May 1")).is_err());
    assert_eq!(texts("1 | 1. Mai", &one("May 1")), [(1, "1. Mai".into())]);
    assert_eq!(texts("12:30 Uhr", &one("Half past twelve")), [(1, "12:30 Uhr".into())]);
    assert_eq!(
        texts("Er sagte {leise} ja", &one("He said yes")),
        [(1, "Er sagte {leise} ja".into())]
    );
}

/// How a reply is written down.
#[derive(Debug, Clone, Copy)]
enum Form {
    Schema,
    ByKey,
    Bars,
    Dots,
}

fn written(form: Form, items: &[(usize, String, &str)]) -> String {
    match form {
        Form::Schema => {
            let lines: Vec<_> = items
                .iter()
                .map(|(key, text, source)| {
                    let source: String = source.chars().take(10).collect();
                    json!({"key": key, "source": source, "text": text})
                })
                .collect();
            json!({ "lines": lines }).to_string()
        }
        Form::ByKey => {
            let lines: serde_json::Map<_, _> = items
                .iter()
                .map(|(key, text, _)| (key.to_string(), json!(text)))
                .collect();
            json!(lines).to_string()
        }
        Form::Bars => items.iter().map(|(key, text, _)| format!("{key} | {text}\n")).collect(),
        Form::Dots => items.iter().map(|(key, text, _)| format!("{key}. {text}\n")).collect(),
    }
}

proptest! {
    /// Whatever of the lines a reply has, in whatever order and form: a line that is taken has its own translation.
    #[test]
    fn any_subset_of_a_reply_ends_at_its_own_lines(
        count in 1usize..40,
        kept in prop::collection::vec(any::<bool>(), 40),
        form in prop::sample::select(vec![Form::Schema, Form::ByKey, Form::Bars, Form::Dots]),
        reversed in any::<bool>(),
        fenced in any::<bool>(),
    ) {
        let sources: Vec<String> = (1..=count).map(|key| format!("word{key} spoken in the line")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let lines = asked(&sources);
        let mut items: Vec<_> = lines
            .iter()
            .filter(|line| kept[line.key - 1])
            .map(|line| (line.key, format!("mot numéro {} dit", line.key), line.source))
            .collect();
        if reversed {
            items.reverse();
        }
        let mut reply = written(form, &items);
        if fenced {
            reply = super::super::answer::unwrapped(&format!("<think>1 | no</think>\n```\n{reply}\n```"));
        }
        if let Ok(matched) = read(&reply, &lines) {
            for (key, text) in matched.texts {
                prop_assert_eq!(text, format!("mot numéro {key} dit"));
            }
        }
        // A dot alone may belong to the text.
        if items.len() == count && !(count == 1 && matches!(form, Form::Dots)) {
            prop_assert_eq!(read(&reply, &lines).map(|matched| matched.texts.len()), Ok(count));
        }
    }

    /// Lines that were merged, so that all behind them have another key, are taken nowhere when their sources tell.
    #[test]
    fn merged_lines_do_not_shift_those_behind_them(count in 3usize..30, merged in 0usize..28) {
        let sources: Vec<String> = (1..=count).map(|key| format!("{key}th phrase, word{key}")).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let merged = merged % (count - 1);
        let mut given: Vec<usize> = (0..count).collect();
        given.remove(merged + 1);
        let items: Vec<_> = given
            .iter()
            .enumerate()
            .map(|(at, line)| (at + 1, format!("t{line}"), sources[*line]))
            .collect();
        for form in [Form::Schema, Form::Bars, Form::ByKey] {
            if let Ok(matched) = read(&written(form, &items), &asked(&sources)) {
                for (key, text) in matched.texts {
                    prop_assert_eq!(text, format!("t{}", key - 1));
                }
            }
        }
    }

    #[test]
    fn whatever_a_model_says_is_read_or_refused(reply in "(?s).{0,300}", count in 1usize..6) {
        let lines = asked(&LONG[..count]);
        if let Ok(matched) = read(&reply, &lines) {
            prop_assert!(matched.texts.keys().all(|key| (1..=count).contains(key)));
        }
    }
}
