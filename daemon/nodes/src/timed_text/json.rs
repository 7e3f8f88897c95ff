//! Transcripts as JSON: our own, faster-whisper's, OpenAI's `verbose_json`, WhisperX's, whisper.cpp's, the chunks of
//! Hugging Face, and what our nodes write beside these (`startTime`, `start_time`).

use serde_json::{Value, json};

use super::{
    encoding,
    markup::{Parts, parts, plain},
    notes::{Notes, Skipped},
    record::{lines_of, open_end},
    times::{clock, is_shown},
    words::{spelled, timed_words, words},
};
use crate::spoken::{TranscriptSegment, Word, align, cut, text_of, words_json, written_words};
use onceover_run::Object;

/// Parses JSON of any encoding; NaN and Infinity, which Python writes, become null.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, String> {
    parse_text(&encoding::decode(bytes, None)?.text)
}

pub(super) fn parse_text(text: &str) -> Result<Value, String> {
    serde_json::from_str(text)
        .or_else(|why| serde_json::from_str(&without_nan(text)).map_err(|_| format!("it is not JSON: {why}")))
}

/// Returns the text with null for each NaN and Infinity outside of strings.
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

/// Returns a number that can be a time, also as text, or a clock: seconds.
pub(crate) fn time(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64().filter(is_shown),
        Value::String(text) => text.trim().parse().ok().filter(is_shown).or_else(|| clock(text)),
        _ => None,
    }
}

/// Returns the start and end of a segment or word, by any of the names tools give them.
pub(crate) fn seconds(json: &Value) -> (Option<f64>, Option<f64>) {
    let named = |names: &[&str]| names.iter().find_map(|name| time(json.get(*name)?));
    let pair = |name: &str, at: usize| json.get(name).and_then(|pair| time(pair.get(at)?));
    let part = |name: &str, part: &str| json.get(name).and_then(|part_of| part_of.get(part));
    let millis = |name: &str| {
        part("offsets", name)
            .and_then(Value::as_f64)
            .map(|millis| millis / 1000.0)
            .filter(is_shown)
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

/// Returns a speaker's label, unless there is none or it is empty.
pub(crate) fn speaker(json: &Value) -> Option<String> {
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

/// Returns the segments in the file's order; at least one.
pub(super) fn segments(json: Value, notes: &mut Notes) -> Result<Vec<TranscriptSegment>, String> {
    notes.has_ids = json.is_object();
    let items = items(json, notes)?;
    if items.is_empty() {
        return Err("it has no segments".into());
    }
    let mut drafts = Vec::with_capacity(items.len());
    for (number, item) in (1..).zip(items) {
        match Draft::read(item) {
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

/// Returns the texts of a transcript, for which its records need no times; at least one.
pub(super) fn texts(json: Value, notes: &mut Notes) -> Result<Vec<String>, String> {
    let list = |name: &str| json.get(name).and_then(Value::as_array);
    let mut names = SEGMENTS.into_iter().chain([WHISPER_CPP]);
    let has_segments = names.any(|name| list(name).is_some());
    let has_text = json.get("text").is_some_and(Value::is_string);
    // Chunks that hold sentences are segments.
    let listed = match list("chunks") {
        Some(chunks) => Some(chunks).filter(|chunks| are_words(chunks)),
        None => list("time_stamps").or_else(|| list("words")),
    };
    let items = match listed {
        // Lists of words or chunks have in pieces what the whole has.
        _ if has_text && !has_segments => vec![json],
        Some(words) if !has_segments => vec![json!({"words": words})],
        _ => items(json, notes)?,
    };
    let mut texts = Vec::with_capacity(items.len());
    for (record, item) in (1..).zip(items) {
        match text_of_item(&item) {
            Ok(text) => texts.extend((!text.is_empty()).then_some(text)),
            Err(why) => notes.skip(Skipped {
                record,
                line: None,
                why: why.into(),
            }),
        }
    }
    notes.read = texts.len();
    if texts.is_empty() {
        return Err("no segment of it has text".into());
    }
    Ok(texts)
}

/// Returns what a record says, without markup; that of its words where it has no text itself.
fn text_of_item(item: &Value) -> Result<String, &'static str> {
    let fields = item.as_object().ok_or("is no object")?;
    let list = fields.get("words").and_then(Value::as_array);
    let text = match fields.get("text") {
        Some(Value::String(text)) => {
            let has_words = list.is_some_and(|list| !list.is_empty());
            let speaker = fields.get("speaker").and_then(label);
            parts_of(fields, text, has_words, speaker.as_deref()).text
        }
        None | Some(Value::Null) => text_of(&words(list.into_iter().flatten(), 0.0, None).0),
        Some(_) => return Err("has a 'text' that is no text"),
    };
    Ok(text.trim().to_owned())
}

/// Names of the list of segments, and that of whisper.cpp.
const SEGMENTS: [&str; 3] = ["segments", "merged_segments", "prepared_segments"];
const WHISPER_CPP: &str = "transcription";

/// Returns the list of segments, whatever the tool.
fn items(json: Value, notes: &mut Notes) -> Result<Vec<Value>, String> {
    let mut object = match json {
        Value::Array(items) => return Ok(items),
        Value::Object(object) => object,
        _ => return Err("it is neither an object with 'segments' nor an array".into()),
    };
    let mut taken = |name: &str| match object.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    if let Some(segments) = SEGMENTS.into_iter().find_map(&mut taken) {
        let words = taken("words").unwrap_or_default();
        return Ok(with_words(segments, &words));
    }
    if let Some(items) = taken(WHISPER_CPP) {
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
    only_words(&listed, &object, notes)
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
    let times: Vec<_> = segments.iter().map(seconds).collect();
    // A segment without an end lasts until the next begins.
    let next_start = |at: usize| times.get(at + 1).and_then(|next| next.0);
    let ends: Vec<_> = (0..)
        .zip(&times)
        .map(|(at, (_, end))| end.or_else(|| next_start(at)).unwrap_or(f64::NEG_INFINITY))
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

/// Returns a segment of whisper.cpp; its tokens make words, those in brackets stand for no text.
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

/// Returns a text and a list of its words, cut to cues.
fn only_words(listed: &[Value], object: &Object, notes: &mut Notes) -> Result<Vec<Value>, String> {
    if listed.is_empty() {
        return Ok(Vec::new());
    }
    let (words, estimated) = timed_words(listed).ok_or("none of its words has a time")?;
    notes.estimate(estimated);
    let said = text_of(&words);
    let text = object.get("text").and_then(Value::as_str).unwrap_or(&said);
    let mut aligned = align::align(&words, text);
    if aligned.ratio < align::LEAST_ALIKE {
        aligned = align::align(&words, &said);
    }
    let words: Vec<_> = aligned.respelled(&words).into_iter().map(|(word, _)| word).collect();
    let language = object.get("language").and_then(Value::as_str).unwrap_or("en");
    let cues = cut::cut_into_cues(&words, language, &cut::CutLimits::default());
    let segment = |(cue, id): (&cut::CutCue, usize)| {
        let words = &words[cue.words.clone()];
        json!({"id": id, "start": cue.start, "end": cue.end, "text": cut::trimmed_text(words), "words": words_json(words)})
    };
    Ok(cues.iter().zip(1..).map(segment).collect())
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
    fn read(json: Value) -> Result<Self, String> {
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
    fn segment(self, starts: &[f64], notes: &mut Notes) -> TranscriptSegment {
        let Self {
            start, words, mut json, ..
        } = self;
        notes.estimate(self.estimated);
        let given = json.get("text").and_then(Value::as_str);
        let text: String = given.map_or_else(|| text_of(&words), Into::into);
        let end = self
            .end
            .unwrap_or_else(|| open_end(start, &words, &text, starts, notes));
        for (name, time) in [("start", start), ("end", end)] {
            if json.get(name).and_then(Value::as_f64) != Some(time) {
                json.insert(name.into(), json!(time));
            }
        }
        let speaker = json.get("speaker").and_then(label);
        let parts = parts_of(&json, &text, !words.is_empty(), speaker.as_deref());
        put_parts(&mut json, &text, &parts);
        TranscriptSegment {
            start,
            end,
            words: spelled(words, &parts.text),
            speaker: speaker.or(parts.speaker),
            markup: parts.markup,
            text: parts.text,
            json,
        }
    }
}

/// Splits the text of a record into its parts. The text of a record with words, or with markup beside it that shows the
/// same, is plain already.
fn parts_of(record: &Object, text: &str, has_words: bool, speaker: Option<&str>) -> Parts {
    let markup = record.get("markup").and_then(Value::as_str);
    let given = markup.filter(|markup| lines_of(&plain(markup)) == lines_of(text));
    if has_words || given.is_some() {
        return Parts {
            text: text.to_owned(),
            markup: given.map(ToOwned::to_owned),
            speaker: None,
        };
    }
    parts(text, speaker)
}

/// Puts the parts of a text into its segment's JSON.
fn put_parts(json: &mut Object, text: &str, parts: &Parts) {
    if parts.text != text {
        json.insert("text".into(), json!(parts.text));
    }
    match &parts.markup {
        Some(markup) => {
            json.insert("markup".into(), json!(markup));
        }
        None => {
            json.shift_remove("markup");
        }
    }
    // If the segment has one already, it is the same.
    if let Some(speaker) = &parts.speaker {
        json.insert("speaker".into(), json!(speaker));
    }
}

#[cfg(test)]
mod tests;
