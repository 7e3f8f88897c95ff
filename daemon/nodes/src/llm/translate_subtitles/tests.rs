use super::{
    super::{client::ChatLimits, providers::Providers},
    *,
};

fn segments_of(json: Value) -> Vec<TranscriptSegment> {
    timed_text::json_segments(json).unwrap().0
}

fn of(durations: &[f64]) -> Vec<Line> {
    let segments: Vec<Value> = durations
        .iter()
        .map(|seconds| json!({"start": 10.0, "end": 10.0 + seconds, "text": " Some  text "}))
        .collect();
    lines(&segments_of(json!(segments)), 18, 42)
}

fn chat() -> Chat {
    let text = "[providers.x]\nurl = 'http://127.0.0.1:9'\nmodel = 'm'";
    let known = Providers::new(&toml::from_str(text).unwrap(), |_| None).unwrap();
    let provider = known.get(Some("x")).unwrap();
    let limits = ChatLimits {
        tries: 1,
        timeout: None,
        deadline: tokio::time::Instant::now(),
    };
    Chat::new(&known, provider, limits).unwrap()
}

fn with<T>(lines: &[Line], test: impl Fn(&Translation<'_>) -> T) -> T {
    let chat = chat();
    test(&Translation {
        chat: &chat,
        system: "do",
        source: None,
        target: "fr",
        lines,
        too_long: Mutex::default(),
    })
}

#[test]
fn a_prompt_line_is_key_seconds_budget_text() {
    let lines = of(&[1.0, 0.05, 4.0]);
    let budgets: Vec<_> = lines.iter().map(|line| line.budget).collect();
    assert_eq!(budgets, [18, 0, 42]);
    with(&lines, |translation| {
        let text = translation.question(&[0, 2], true);
        assert!(
            text.ends_with("\n1 | 1.00 | 18 | Some text\n2 | 4.00 | 42 | Some text\n"),
            "{text}"
        );
        assert!(text.contains("Target language: fr") && text.contains("JSON"), "{text}");
    });
}

#[test]
fn each_line_has_its_own_budget_and_one_over_it_costs_no_other() {
    let lines = of(&[1.0, 0.05, 4.0]);
    with(&lines, |translation| {
        let accept = |reply: &str| translation.accept(reply, &[0, 2]);
        let accepted = accept("1 | Bonjour\n2 | Tout va bien").unwrap();
        assert_eq!(
            accepted.texts,
            BTreeMap::from([(0, "Bonjour".into()), (2, "Tout va bien".into())])
        );
        let long = "é".repeat(19);
        let accepted = accept(&format!("1 | {long}\n2 | Oui")).unwrap();
        assert_eq!(accepted.texts, BTreeMap::from([(2, "Oui".into())]));
        let doubt = &accepted.doubts[0];
        assert!(
            doubt.contains("line 1") && doubt.contains("19") && doubt.contains("18"),
            "{doubt}"
        );
        // The next question names what was too long.
        let question = translation.question(&[0], false);
        assert!(
            question.contains("line 1 was too long") && question.contains(&long),
            "{question}"
        );
        let error = accept("1 | \n2 |").unwrap_err();
        assert!(error.contains("line 1 ('Some text') is missing"), "{error}");
    });
}

#[test]
fn a_translation_that_stays_too_long_is_taken_at_its_shortest_and_a_whole_paragraph_is_not() {
    let lines = of(&[1.0]);
    let (longer, long) = ("é".repeat(25), "é".repeat(20));
    with(&lines, |translation| {
        let accept = |text: &str| translation.accept(&format!("1 | {text}"), &[0]);
        let paragraph = accept(&"é".repeat(200)).unwrap_err();
        assert!(paragraph.contains("200 characters"), "{paragraph}");
        assert_eq!(translation.second_best(0), None);
        assert!(accept(&long).unwrap().texts.is_empty());
        assert_eq!(accept(&longer).unwrap().texts, BTreeMap::from([(0, long.clone())]));
        assert!(accept(&"é".repeat(200)).is_err());
        // It is better than none.
        assert_eq!(translation.second_best(0), Some(long.clone()));
        assert_eq!(accept("Oui").unwrap().texts, BTreeMap::from([(0, "Oui".into())]));
    });
}

#[test]
fn a_long_translation_that_may_have_the_line_beside_it_in_it_is_not_taken() {
    let lines = of(&[1.0, 1.0, 1.0]);
    let long = "é".repeat(25);
    with(&lines, |translation| {
        let accept = |reply: &str| translation.accept(reply, &[0, 1, 2]).unwrap();
        // The second line has two answers, that is, none.
        let reply = format!("1 | {long}\n2 | Oui\n2 | Non\n3 | Bien");
        assert_eq!(accept(&reply).texts, BTreeMap::from([(2, "Bien".into())]));
        assert_eq!(translation.second_best(0), None);
        let reply = format!("1 | {long}\n2 | Oui\n3 | Bien");
        assert!(!accept(&reply).texts.contains_key(&0));
        assert_eq!(accept(&reply).texts[&0], long);
    });
}

#[test]
fn a_budget_is_never_smaller_than_the_source_text_is_wide() {
    let line = |seconds: f64, text: &str| json!({"start": 1.0, "end": 1.0 + seconds, "text": text});
    let words = "word ".repeat(16);
    let json = json!([
        line(1.0, &words),
        line(9.0, &words),
        line(
            1.0,
            "\u{4f60}\u{597d}\u{4e16}\u{754c}\u{4eca}\u{5929}\u{53bb}\u{54ea}\u{91cc}\u{5440}"
        ),
        line(1.0, "short"),
        line(0.05, &words),
    ]);
    let lines = lines(&segments_of(json), 18, 42);
    let budgets: Vec<_> = lines.iter().map(|line| line.budget).collect();
    assert_eq!(budgets, [79, 79, 20, 18, 0]);
}

#[test]
fn an_answer_is_told_apart_by_all_that_it_depends_on() {
    let json = json!([
        {"start": 0, "end": 2, "text": "Yes."},
        {"start": 2, "end": 4, "text": "Yes."},
        {"start": 4, "end": 6, "text": "Yes."},
        {"start": 6, "end": 8, "text": "Yes."},
    ]);
    let lines = lines(&segments_of(json), 18, 42);
    let chat = chat();
    let mut translation = Translation {
        chat: &chat,
        system: "do",
        source: None,
        target: "fr",
        lines: &lines,
        too_long: Mutex::default(),
    };
    assert_eq!(translation.key(1), translation.key(2));
    assert_ne!(translation.key(0), translation.key(1));
    let before = translation.key(1);
    translation.target = "de";
    assert_ne!(translation.key(1), before);
}

#[test]
fn budgets_count_whole_milliseconds_and_limits_of_at_least_one() {
    // 10.9 - 10.0 is a little less than 0.9 in binary.
    let segment = json!([{"start": 10.0, "end": 10.5, "text": "x"}, {"start": 0, "end": 9, "text": ""}]);
    let segments = segments_of(segment);
    let budgets = |cps, cpl| -> Vec<_> { lines(&segments, cps, cpl).iter().map(|line| line.budget).collect() };
    assert_eq!(budgets(18, 42), [9, 0]);
    assert_eq!(budgets(18, 0), [1, 0]);
    assert_eq!(budgets(-3, 42), [0, 0]);
    assert_eq!(of(&[1.0 / 3.0 * 3.0])[0].budget, 18);
    let edge = json!([{"start": 0.3, "end": 1.3, "text": "x"}, {"start": 1.1, "end": 2.1, "text": "x"}]);
    let segments = segments_of(edge);
    assert!(lines(&segments, 18, 42).iter().all(|line| line.budget == 18));
}

#[test]
fn tags_around_a_line_are_around_its_translation_and_others_go() {
    let srt =
        "1\n00:00:01,000 --> 00:00:02,000\n<i>Hello</i>\n\n2\n00:00:03,000 --> 00:00:04,000\nAll <b>is</b> well\n";
    let (segments, _) = timed_text::segments(srt.as_bytes(), None).unwrap();
    let translated = ["Bonjour", "Tout va bien"].map(ToOwned::to_owned);
    let fields: Vec<_> = segments.into_iter().zip(translated).map(replace).collect();
    assert_eq!(
        (&fields[0]["text"], &fields[0]["markup"]),
        (&json!("Bonjour"), &json!("<i>Bonjour</i>"))
    );
    assert_eq!(
        (&fields[1]["text"], fields[1].get("markup")),
        (&json!("Tout va bien"), None)
    );
}
