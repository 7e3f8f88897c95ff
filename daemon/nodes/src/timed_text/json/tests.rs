use super::*;
use crate::timed_text::json_segments;

fn short(json: Value) -> Vec<(f64, f64, String, usize)> {
    let (segments, _) = json_segments(json).unwrap();
    segments
        .into_iter()
        .map(|segment| (segment.start, segment.end, segment.text, segment.words.len()))
        .collect()
}

#[test]
fn the_json_of_other_tools_is_read() {
    let two = || {
        vec![
            (0.0, 2.0, " One two.".to_owned(), 2),
            (2.5, 4.0, " Three.".to_owned(), 1),
        ]
    };
    let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end});
    let words = [word("One", 0.0, 1.0), word("two", 1.0, 2.0), word("Three", 2.5, 4.0)];
    // OpenAI's verbose_json lists words beside the segments.
    assert_eq!(
        short(json!({"task": "transcribe", "text": "One two. Three.", "segments": [
            {"id": 0, "start": 0.0, "end": 2.0, "text": " One two."}, {"id": 1, "start": 2.5, "end": 4.0, "text": " Three."}],
            "words": words})),
        two()
    );
    // WhisperX.
    assert_eq!(
        short(json!({"word_segments": [], "segments": [
            {"start": 0.0, "end": 2.0, "text": " One two.", "words": [
                {"word": "One", "start": 0.0, "end": 1.0, "score": 0.9}, {"word": "two."}]},
            {"start": 2.5, "end": 4.0, "text": " Three.", "words": [words[2]]}]})),
        two()
    );
    // whisper.cpp.
    let token = |text: &str, from: u32, to: u32| json!({"text": text, "offsets": {"from": from, "to": to}, "p": 0.5});
    assert_eq!(
        short(json!({"result": {"language": "en"}, "transcription": [
            {"timestamps": {"from": "00:00:00,000", "to": "00:00:02,000"}, "offsets": {"from": 0, "to": 2000}, "text": " One two.",
                "tokens": [token("[_BEG_]", 0, 0), token(" One", 0, 1000), token(" t", 1000, 1500), token("wo", 1500, 1900), token(".", 1900, 2000)]},
            {"timestamps": {"from": "00:00:02,500", "to": "00:00:04,000"}, "text": " Three.", "tokens": [token(" Three", 2500, 4000), token(".", 4000, 4000)]}]})),
        two()
    );
    // The chunks of Hugging Face, the last without an end.
    let chunks = short(json!({"text": " One two. Three.", "chunks": [
        {"timestamp": [0.0, 2.0], "text": " One two."}, {"timestamp": [2.5, null], "text": " Three."}]}));
    assert_eq!((chunks[0].1, chunks[1].1, chunks.len()), (2.0, 4.0, 2));
    let by_word = json!({"text": " One two. Three.", "chunks": [
        {"timestamp": [0.0, 1.0], "text": " One"}, {"timestamp": [1.0, 2.0], "text": " two."}, {"timestamp": [2.5, 4.0], "text": " Three."}]});
    assert_eq!(short(by_word)[0].2, "One two.");
    // The OCR chain and the list of cut pieces.
    assert_eq!(
        short(json!([{"startTime": 0.5, "endTime": 1, "text": "a", "bbox": []}])),
        [(0.5, 1.0, "a".into(), 0)]
    );
    assert_eq!(
        short(json!({"segments": [{"start_time": 0.5, "end_time": 1, "text": "a"}]})),
        [(0.5, 1.0, "a".into(), 0)]
    );
}

#[test]
fn one_bad_segment_costs_at_most_itself() {
    let good = |start: f64| json!({"start": start, "end": start + 2.0, "text": " One."});
    for (bad, all, skipped) in [
        (json!({"start": 126.66, "end": 102.96, "text": " Two."}), 2, 1),
        (json!({"start": 9.0, "end": null, "text": " Two."}), 3, 0),
        (json!({"start": 9.0, "text": " Two."}), 3, 0),
        (json!({"start": 2.5, "end": 3, "text": null}), 3, 0),
        (json!({"start": "3.0", "end": "00:00:04,000", "text": " Two."}), 3, 0),
        (json!(3), 2, 1),
        (
            json!({"start": 5, "end": 4, "text": " a", "words": [{"word": " a", "start": 5, "end": 5.5}]}),
            3,
            0,
        ),
    ] {
        let (segments, notes) = json_segments(json!([good(0.0), bad, good(6.0)])).unwrap();
        assert_eq!((segments.len(), notes.skipped()), (all, skipped), "{bad}");
        assert!(
            segments
                .iter()
                .all(|segment| segment.end >= segment.start && segment.json["end"].is_number())
        );
    }
    let nothing = json_segments(json!([{"start": 2, "end": 1}])).unwrap_err();
    assert!(nothing.contains("record 1 ends (1) before it starts (2)"), "{nothing}");
}

#[test]
fn a_word_without_times_in_a_list_of_words_lies_between_its_neighbours() {
    for name in ["words", "time_stamps"] {
        let list = json!([
            {"word": "Ten", "start": 5.0, "end": 5.4}, {"word": "in"}, {"word": "2014.", "start": 6.5, "end": 7.0},
            {"word": "Yes", "end": 9.0}, {"word": "indeed."}]);
        let (segments, notes) = json_segments(json!({name: list})).unwrap();
        let words: Vec<_> = segments.iter().flat_map(|segment| &segment.words).collect();
        let times: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(
            times,
            [(5.0, 5.4), (5.4, 5.9), (6.5, 7.0), (8.25, 9.0), (9.0, 10.75)],
            "{name}"
        );
        assert_eq!(notes.estimated_words, 3);
    }
    // The last word of Hugging Face has no end.
    let chunks =
        json!({"chunks": [{"timestamp": [0.0, 1.0], "text": " One"}, {"timestamp": [1.0, null], "text": " two."}]});
    let (segments, notes) = json_segments(chunks).unwrap();
    assert_eq!((segments[0].end, notes.estimated_words), (2.0, 1));
    let nothing = json_segments(json!({"words": [{"word": "a"}, {"word": "b"}]})).unwrap_err();
    assert!(nothing.contains("none of its words has a time"), "{nothing}");
}

#[test]
fn words_beside_segments_without_an_end_belong_to_the_one_they_are_said_in() {
    let segments = json!({"segments": [{"start": 0, "text": " One."}, {"start": 2, "text": " Two."}],
        "words": [{"word": "One", "start": 0.5, "end": 1.0}, {"word": "Two", "start": 2.0, "end": 2.5}]});
    assert_eq!(
        short(segments),
        [(0.0, 1.0, " One.".into(), 1), (2.0, 2.5, " Two.".into(), 1)]
    );
}

#[test]
fn texts_need_no_times_and_what_has_none_is_named() {
    let of = |json: Value| {
        let mut notes = Notes::default();
        texts(json, &mut notes).map(|texts| (texts, notes.skipped()))
    };
    let words = json!([{"word": " a", "start": 1, "end": 2}, {"word": " b"}]);
    let list = json!([{"text": " <i>One</i> "}, {"text": "[SPEAKER_01] two"},
        {"text": "<b>", "markup": "&lt;b>"}, {"words": words}, {"text": null}, 3, {"text": 4}]);
    assert_eq!(
        of(list),
        Ok((vec!["One".into(), "two".into(), "<b>".into(), "a b".into()], 2))
    );
    assert_eq!(
        of(json!({"text": "All &amp; sundry", "chunks": [{"text": "x"}]})),
        Ok((vec!["All & sundry".into()], 0))
    );
    assert_eq!(
        of(json!({"transcription": [{"text": " One."}]})),
        Ok((vec!["One.".into()], 0))
    );
    assert_eq!(
        of(json!({"words": [{"word": " a"}, {"word": " b"}]})),
        Ok((vec!["a b".into()], 0))
    );
    assert_eq!(
        of(json!({"time_stamps": [{"text": " a"}, {"text": " b"}]})),
        Ok((vec!["a b".into()], 0))
    );
    assert_eq!(
        of(json!({"chunks": [{"text": " One"}, {"text": " two."}]})),
        Ok((vec!["One two.".into()], 0))
    );
    assert_eq!(
        of(json!({"chunks": [{"text": " One two three."}, {"text": " Four five six."}]})),
        Ok((vec!["One two three.".into(), "Four five six.".into()], 0))
    );
}

#[test]
fn nan_is_nothing_and_stays_in_texts() {
    let json = parse(br#"[{"start": NaN, "end": -Infinity, "text": "NaN \"Infinity"}]"#).unwrap();
    assert_eq!(json, json!([{"start": null, "end": null, "text": "NaN \"Infinity"}]));
    assert!(parse(b"NaN,").unwrap_err().contains("not JSON"));
}

#[test]
fn markup_in_texts_without_words_is_beside_them() {
    let (segments, _) = json_segments(json!([
        {"start": 0, "end": 1, "text": "{\\an8}<i>Hi</i>"},
        {"start": 1, "end": 2, "text": "[SPEAKER_02] b"},
        {"start": 2, "end": 3, "text": "Salut", "markup": "<i>Hi</i>"},
    ]))
    .unwrap();
    assert_eq!(
        (segments[0].text.as_str(), segments[0].markup.as_deref()),
        ("Hi", Some("{\\an8}<i>Hi</i>"))
    );
    assert_eq!(
        (segments[1].text.as_str(), segments[1].speaker.as_deref()),
        ("b", Some("SPEAKER_02"))
    );
    // The markup of another text is not that of this one.
    assert_eq!((&segments[2].markup, segments[2].json.get("markup")), (&None, None));
}
