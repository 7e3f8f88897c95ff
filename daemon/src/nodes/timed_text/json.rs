//! Transcripts as JSON: our own, faster-whisper's, OpenAI's `verbose_json`, WhisperX's, whisper.cpp's, the chunks of Hugging Face, and
//! what our own nodes write beside these (`startTime`, `start_time`).

use serde_json::{Value, json};

use super::{
    encoding,
    markup::{kept, plain, split_speaker},
    notes::{Notes, Skipped},
    record::open_end,
    times::clock,
    words::{in_order, spelled, word, words, written_words},
};
use crate::{
    executor::run::Object,
    nodes::transcript::{
        align, cut,
        read::{Segment, Word, text_of, words_json},
    },
};

/// JSON text of any encoding; NaN and Infinity, which Python writes, are null.
pub(in crate::nodes) fn parse(bytes: &[u8]) -> Result<Value, String> {
    parse_text(&encoding::decode(bytes, None)?.text)
}

pub(super) fn parse_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .or_else(|why| serde_json::from_str(&without_nan(text)).map_err(|_| format!("it is not JSON: {why}")))
}

/// The text with null for each NaN and Infinity outside of strings.
fn without_nan(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    let (mut in_text, mut is_escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if !in_text
            && let Some(word) = ["NaN", "-Infinity", "Infinity"]
                .iter()
                .find(|word| rest.starts_with(**word))
        {
            all.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        all.push(c);
        rest = &rest[c.len_utf8()..];
    }
    all
}

/// A finite number, also as text, or a clock: seconds.
fn time(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .or_else(|| clock(text)),
        _ => None,
    }
}

/// The start and end of a segment or word, by any of the names tools give them.
pub(super) fn seconds(json: &Value) -> (Option<f64>, Option<f64>) {
    let named = |names: &[&str]| names.iter().find_map(|name| time(json.get(*name)?));
    let pair = |name: &str, at: usize| json.get(name).and_then(|pair| time(pair.get(at)?));
    let part = |name: &str, part: &str| json.get(name).and_then(|part_of| part_of.get(part));
    let millis = |name: &str| {
        part("offsets", name)
            .and_then(Value::as_f64)
            .map(|millis| millis / 1000.0)
    };
    let start = named(&["start", "startTime", "start_time"])
        .or_else(|| pair("timestamp", 0))
        .or_else(|| millis("from"))
        .or_else(|| part("timestamps", "from").and_then(time));
    let end = named(&["end", "endTime", "end_time"])
        .or_else(|| pair("timestamp", 1))
        .or_else(|| millis("to"))
        .or_else(|| part("timestamps", "to").and_then(time))
        .or_else(|| Some(start? + named(&["duration"]).filter(|length| *length >= 0.0)?));
    (start, end)
}

/// A speaker's label, unless there is none or it is empty.
pub(in crate::nodes) fn speaker(json: &Value) -> Option<String> {
    label(json.get("speaker")?)
}

fn label(json: &Value) -> Option<String> {
    let label = match json {
        Value::String(label) => label.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!label.trim().is_empty()).then_some(label)
}

/// The segments in the file's order; at least one.
pub(super) fn segments(json: Value, notes: &mut Notes) -> Result<Vec<Segment>, String> {
    notes.has_ids = json.is_object();
    let items = items(json)?;
    if items.is_empty() {
        return Err("it has no segments".into());
    }
    let mut drafts = Vec::with_capacity(items.len());
    for (number, item) in (1..).zip(items) {
        match Draft::of(item) {
            Ok(draft) => drafts.push(draft),
            Err(why) => notes.skip(Skipped {
                record: number,
                line: None,
                why,
            }),
        }
    }
    let mut starts: Vec<_> = drafts.iter().map(|draft| draft.start).collect();
    starts.sort_by(f64::total_cmp);
    let segments: Vec<_> = drafts.into_iter().map(|draft| draft.segment(&starts, notes)).collect();
    notes.read = segments.len();
    notes.need_any("segments")?;
    Ok(segments)
}

/// The list of segments, whatever the tool.
fn items(json: Value) -> Result<Vec<Value>, String> {
    let mut object = match json {
        Value::Array(items) => return Ok(items),
        Value::Object(object) => object,
        _ => return Err("it is neither an object with 'segments' nor an array".into()),
    };
    let mut taken = |name: &str| match object.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    if let Some(segments) = ["segments", "merged_segments", "prepared_segments"]
        .into_iter()
        .find_map(&mut taken)
    {
        let words = taken("words").unwrap_or_default();
        return Ok(with_words(segments, &words));
    }
    if let Some(items) = taken("transcription") {
        return Ok(items.into_iter().map(whisper_cpp).collect());
    }
    let chunks = taken("chunks");
    if let Some(chunks) = &chunks
        && !are_words(chunks)
    {
        return Ok(chunks.clone());
    }
    let listed = chunks.or_else(|| taken("time_stamps")).or_else(|| taken("words"));
    let listed = listed.ok_or("it has no 'segments' array")?;
    Ok(only_words(&listed, &object))
}

/// Whether chunks are one word each.
fn are_words(chunks: &[Value]) -> bool {
    let counts = chunks.iter().map(|chunk| {
        chunk
            .get("text")
            .and_then(Value::as_str)
            .map_or(0, |text| written_words(text).len())
    });
    chunks.len() > 1 && counts.sum::<usize>() * 2 <= chunks.len() * 3
}

/// Segments with the words that the file lists beside them, each by its middle.
fn with_words(mut segments: Vec<Value>, words: &[Value]) -> Vec<Value> {
    let has_words = |segment: &Value| {
        segment
            .get("words")
            .and_then(Value::as_array)
            .is_some_and(|words| !words.is_empty())
    };
    if words.is_empty() || segments.iter().any(has_words) {
        return segments;
    }
    let ends: Vec<_> = segments
        .iter()
        .map(|segment| seconds(segment).1.unwrap_or(f64::NEG_INFINITY))
        .collect();
    let mut at = 0;
    let mut lists: Vec<Vec<Value>> = vec![Vec::new(); segments.len()];
    for word in words {
        if let (Some(start), end) = seconds(word) {
            let middle = f64::midpoint(start, end.unwrap_or(start));
            while at + 1 < ends.len() && middle > ends[at] {
                at += 1;
            }
        }
        if let Some(list) = lists.get_mut(at) {
            list.push(word.clone());
        }
    }
    for (segment, list) in segments.iter_mut().zip(lists) {
        if let (Value::Object(segment), false) = (segment, list.is_empty()) {
            segment.insert("words".into(), list.into());
        }
    }
    segments
}

/// A segment of whisper.cpp; its tokens make words, those in brackets stand for no text.
fn whisper_cpp(item: Value) -> Value {
    let (start, end) = seconds(&item);
    let tokens = item.get("tokens").and_then(Value::as_array).into_iter().flatten();
    let mut words: Vec<Value> = Vec::new();
    for token in tokens {
        let text = token.get("text").and_then(Value::as_str).unwrap_or_default();
        if text.trim().is_empty() || text.starts_with("[_") {
            continue;
        }
        let (from, to) = seconds(token);
        match words.last_mut() {
            Some(last) if !text.starts_with(' ') => {
                let said = last.get("word").and_then(Value::as_str).unwrap_or_default();
                last["word"] = json!(format!("{said}{text}"));
                last["end"] = json!(to);
            }
            _ => words.push(json!({"word": text, "start": from, "end": to, "probability": token.get("p")})),
        }
    }
    let mut segment = json!({"start": start, "end": end, "text": item.get("text")});
    if let Some(speaker) = speaker(&item) {
        segment["speaker"] = json!(speaker);
    }
    if !words.is_empty() {
        segment["words"] = json!(words);
    }
    segment
}

/// A text and a list of its words, cut to cues.
fn only_words(listed: &[Value], object: &Object) -> Vec<Value> {
    let words = in_order(listed.iter().filter_map(|json| word(json, 0.0, 0.0)).collect());
    let said = text_of(&words);
    let text = object.get("text").and_then(Value::as_str).unwrap_or(&said);
    let mut aligned = align::align(&words, text);
    if aligned.ratio < align::LEAST_ALIKE {
        aligned = align::align(&words, &said);
    }
    let words: Vec<_> = aligned.respelled(&words).into_iter().map(|(word, _)| word).collect();
    let language = object.get("language").and_then(Value::as_str).unwrap_or("en");
    let cues = cut::cues(&words, language, &cut::Limits::default());
    let segment = |(cue, id): (&cut::Cue, usize)| {
        let words = &words[cue.words.clone()];
        json!({"id": id, "start": cue.start, "end": cue.end, "text": cut::text(words), "words": words_json(words)})
    };
    cues.iter().zip(1..).map(segment).collect()
}

/// A segment of which the end may still be missing.
struct Draft {
    start: f64,
    end: Option<f64>,
    words: Vec<Word>,
    estimated: usize,
    json: Object,
}

impl Draft {
    fn of(json: Value) -> Result<Self, String> {
        let (start, mut end) = seconds(&json);
        let Value::Object(mut json) = json else {
            return Err("is no object".into());
        };
        let start = start.ok_or("has no number 'start'")?;
        let list = json.get("words").and_then(Value::as_array).into_iter().flatten();
        let backwards = end.filter(|end| *end < start);
        if backwards.is_some() {
            end = None;
        }
        let (words, estimated) = words(list, start, end);
        if let Some(end) = backwards.filter(|_| words.is_empty() || estimated == words.len()) {
            return Err(format!("ends ({end}) before it starts ({start})"));
        }
        if estimated > 0 {
            json.insert("words".into(), words_json(&words));
        }
        Ok(Self {
            start,
            end,
            words,
            estimated,
            json,
        })
    }

    /// `starts` are those of all segments, sorted.
    fn segment(self, starts: &[f64], notes: &mut Notes) -> Segment {
        let Self {
            start, words, mut json, ..
        } = self;
        notes.estimated_words += self.estimated;
        let given = json.get("text").and_then(Value::as_str);
        let mut text = given.map_or_else(|| text_of(&words), Into::into);
        let end = self.end.unwrap_or_else(|| {
            notes.open_ends += 1;
            open_end(start, &words, &text, starts)
        });
        for (name, time) in [("start", start), ("end", end)] {
            if json.get(name).and_then(Value::as_f64) != Some(time) {
                json.insert(name.into(), json!(time));
            }
        }
        let marked = json.get("markup").and_then(Value::as_str).map(ToOwned::to_owned);
        let mut markup = marked.filter(|marked| plain(marked).trim() == text.trim());
        let mut speaker = json.get("speaker").and_then(label);
        if words.is_empty() && markup.is_none() {
            (text, markup) = unmarked(text, &mut speaker, &mut json);
        }
        if markup.is_none() {
            json.shift_remove("markup");
        }
        Segment {
            start,
            end,
            words: spelled(words, &text),
            speaker,
            markup,
            text,
            json,
        }
    }
}

/// A text without markup and without the label of its speaker, which become fields.
fn unmarked(text: String, label: &mut Option<String>, json: &mut Object) -> (String, Option<String>) {
    let clean = plain(&text);
    let (tag, said) = split_speaker(clean.trim());
    let markup = (clean != text)
        .then(|| kept(&text).trim().to_owned())
        .filter(|marked| marked != said);
    let mut said = if tag.is_some() { said.to_owned() } else { clean.clone() };
    if let (Some(tag), None) = (tag, &label) {
        json.insert("speaker".into(), json!(tag));
        *label = Some(tag.to_owned());
    } else if tag.is_some() && label.as_deref() != tag {
        // Somebody else's label is part of the text.
        said.clone_from(&clean);
    }
    if said != text {
        json.insert("text".into(), json!(said));
    }
    if let Some(markup) = &markup {
        json.insert("markup".into(), json!(markup));
    }
    (said, markup)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(json: Value) -> Vec<(f64, f64, String, usize)> {
        let (segments, _) = super::super::json_segments(json).unwrap();
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
        let token =
            |text: &str, from: u32, to: u32| json!({"text": text, "offsets": {"from": from, "to": to}, "p": 0.5});
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
        assert_eq!((chunks[0].1, chunks[1].1, chunks.len()), (2.0, 3.5, 2));
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
            let (segments, notes) = super::super::json_segments(json!([good(0.0), bad, good(6.0)])).unwrap();
            assert_eq!((segments.len(), notes.skipped()), (all, skipped), "{bad}");
            assert!(
                segments
                    .iter()
                    .all(|segment| segment.end >= segment.start && segment.json["end"].is_number())
            );
        }
        let nothing = super::super::json_segments(json!([{"start": 2, "end": 1}])).unwrap_err();
        assert!(nothing.contains("record 1 ends (1) before it starts (2)"), "{nothing}");
    }

    #[test]
    fn nan_is_nothing_and_stays_in_texts() {
        let json = parse(br#"[{"start": NaN, "end": -Infinity, "text": "NaN \"Infinity"}]"#).unwrap();
        assert_eq!(json, json!([{"start": null, "end": null, "text": "NaN \"Infinity"}]));
        assert!(parse(b"NaN,").unwrap_err().contains("not JSON"));
    }

    #[test]
    fn markup_in_texts_without_words_is_beside_them() {
        let (segments, _) = super::super::json_segments(json!([
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
}
