//! `wservice.segment_subtitles`: a text cut into sentences and lines of limited length, with times where its words have
//! them.

use serde_json::{Value, json};

use super::{
    json_path::{JsonPath, split_list},
    lines::{TranscriptLine, lines},
    source::TranscriptSource,
};
use crate::{
    input::{Input, compute, create_folder, path_text, write_json},
    spoken::{
        TranscriptSegment, Word,
        align::{LEAST_ALIKE, align},
        millis, put_in_order,
        sentences::find_sentence_starts,
        tokens::{spaced, tokens},
    },
    timed_text::{Document, Notes, put_text, timed_words},
};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let given = match input.text("subtitle_text").filter(|text| !text.trim().is_empty()) {
        Some(text) => Given::Text {
            text: text.to_owned(),
            words: input.value("words").cloned().unwrap_or(Value::Null),
        },
        None => Given::File {
            file: TranscriptSource::file(context, "subtitle_file")?,
            text: JsonPath::parse("text_json_path", input.text("text_json_path").unwrap_or("text"))?,
            words: split_list(input.text("words_json_path").unwrap_or_default())
                .into_iter()
                .map(|path| JsonPath::parse("words_json_path", path))
                .collect::<Result<_, _>>()?,
        },
    };
    let max_chars = input.count("max_chars")? as usize;
    let language = input.text("language").unwrap_or("en").to_owned();
    let folder = create_folder(context, "data")?;
    let (text, words) = given.read(context).await?;
    let (output, note) = compute(move || {
        let segmented = Segmented::segment(&text, &words, &language, max_chars)?;
        let file = |name: &str, json: Value| {
            let path = folder.join(name);
            write_json(&path, &json)?;
            Ok::<_, RunError>(json!(path_text(&path)))
        };
        let output = Object::from_iter([
            (
                "segmented_subtitle_file".into(),
                file(
                    "segmented_subtitles.json",
                    segmented.json("sentences_and_length", &segmented.lines),
                )?,
            ),
            (
                "segmented_subtitle_pysbd_file".into(),
                file(
                    "segmented_subtitles_pysbd.json",
                    segmented.json("sentences", &segmented.sentences),
                )?,
            ),
            ("statistics".into(), segmented.statistics()),
        ]);
        let note = format!(
            "{} sentences, {} lines",
            segmented.sentences.len(),
            segmented.lines.len()
        );
        Ok((output, note))
    })
    .await?;
    context.log.line(&note);
    context.progress.report(100.0, None);
    Ok(output)
}

enum Given {
    Text {
        text: String,
        words: Value,
    },
    File {
        file: TranscriptSource,
        text: JsonPath,
        words: Vec<JsonPath>,
    },
}

/// A text and the words in it that have times.
type Spoken = (String, Vec<Word>);

impl Given {
    async fn read(self, context: &RunContext) -> Result<Spoken, RunError> {
        const WORDS: &str = "input_data.words";
        match self {
            Self::Text { text, words } => {
                let (words, estimated) = words_of(&words).map_err(|why| RunError::failed(format!("{WORDS}: {why}")))?;
                let mut notes = Notes::default();
                notes.estimate(estimated);
                notes.tell(context, WORDS);
                Ok((text, words))
            }
            Self::File { file, text, words } => {
                let encoding = Input(context).text("encoding").map(ToOwned::to_owned);
                file.read(
                    context,
                    move |bytes| spoken(Document::read(bytes, encoding.as_deref())?, &text, &words),
                    |_| Err("it is no file".into()),
                )
                .await
            }
        }
    }
}

/// Returns what the paths of the request find; for a transcript or subtitles without such fields, the text and words of
/// all segments.
fn spoken(document: Document, text: &JsonPath, words: &[JsonPath]) -> Result<(Spoken, Notes), String> {
    let Some(json) = document.json() else {
        return by_segments(document);
    };
    match by_paths(json, text, words) {
        Ok((found, estimated)) => {
            let mut notes = document.into_notes();
            notes.estimate(estimated);
            Ok((found, notes))
        }
        Err(why) if json.is_object() => by_segments(document).map_err(|_| why),
        Err(_) => by_segments(document),
    }
}

/// Returns the text and words that the paths of the request find.
fn by_paths(json: &Value, text: &JsonPath, words: &[JsonPath]) -> Result<(Spoken, usize), String> {
    let found = text.find(json)?;
    let text = text_of(&found).ok_or_else(|| format!("its {} is no text", text.as_str()))?;
    if text.trim().is_empty() {
        return Err("its text is empty".into());
    }
    for path in words {
        let found = path.find(json)?;
        if found.as_array().is_some_and(|words| !words.is_empty()) {
            let (words, estimated) = words_of(&found).map_err(|why| format!("its {}: {why}", path.as_str()))?;
            return Ok(((text, words), estimated));
        }
    }
    Ok(((text, Vec::new()), 0))
}

/// Returns the text and words of all segments of a transcript or of subtitles.
fn by_segments(document: Document) -> Result<(Spoken, Notes), String> {
    let (segments, notes) = document.segments()?;
    let words = segments.iter().flat_map(TranscriptSegment::timed_words).collect();
    let words = put_in_order(words);
    let text = spaced(segments.iter().map(|segment| segment.text.trim()));
    if text.is_empty() {
        return Err("its text is empty".into());
    }
    Ok(((text, words), notes))
}

/// Returns a text, or several.
fn text_of(json: &Value) -> Option<String> {
    match json {
        Value::String(text) => Some(text.clone()),
        Value::Array(texts) => {
            let texts: Option<Vec<_>> = texts.iter().map(Value::as_str).collect();
            Some(texts?.join(" "))
        }
        _ => None,
    }
}

/// Returns the words in order, and how many of their times are estimated.
fn words_of(json: &Value) -> Result<(Vec<Word>, usize), String> {
    let list: &[Value] = match json {
        Value::Null => &[],
        Value::Array(list) => list,
        _ => return Err("it must be an array of {text, start, end}".into()),
    };
    if list.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let (words, estimated) = timed_words(list).ok_or("none of its words has a time")?;
    if words.len() < list.len() {
        return Err(format!(
            "{} of its {} words have no text",
            list.len() - words.len(),
            list.len()
        ));
    }
    Ok((words, estimated))
}

/// A line or sentence, as the files list it.
struct Part {
    text: String,
    /// None without words.
    times: Option<(f64, f64)>,
    words: Vec<Value>,
    word_count: usize,
}

struct Segmented {
    language: String,
    max_chars: usize,
    sentences: Vec<Part>,
    lines: Vec<Part>,
}

impl Segmented {
    fn segment(text: &str, words: &[Word], language: &str, max_chars: usize) -> Result<Self, RunError> {
        let aligned = align(words, text);
        if !words.is_empty() && aligned.ratio < LEAST_ALIKE {
            return Err(RunError::failed(format!(
                "the words have too little in common with the text ({:.3}, it must be {LEAST_ALIKE}); are they of the same transcript?",
                aligned.ratio
            )));
        }
        let timed = if words.is_empty() {
            Vec::new()
        } else {
            aligned.timed(words)
        };
        let part = |line: &TranscriptLine<'_>| {
            let range = line.range();
            let place = |at: usize| timed.partition_point(|part| part.token.at < at);
            let inside = &timed[place(range.start)..place(range.end)];
            // A line that begins inside a token has its time.
            let around = timed[..place(range.start)].last().filter(|_| inside.is_empty());
            let words: Vec<_> = inside
                .chunk_by(|a, b| a.word == b.word)
                .map(|parts| {
                    let (first, last) = (&parts[0], &parts[parts.len() - 1]);
                    let end = range.end.min(last.token.at + last.token.text.len());
                    let text = &text[first.token.at..end];
                    json!({"text": text, "start": first.start, "end": last.end})
                })
                .collect();
            Part {
                text: line.text.split_whitespace().collect::<Vec<_>>().join(" "),
                times: inside
                    .first()
                    .or(around)
                    .zip(inside.last().or(around))
                    .map(|(first, last)| (first.start, last.end)),
                word_count: if words.is_empty() {
                    tokens(line.text).iter().filter(|token| token.breaks).count()
                } else {
                    words.len()
                },
                words,
            }
        };
        let starts = find_sentence_starts(text, language);
        let sentences = TranscriptLine::cut(text, &starts);
        let lines: Vec<_> = sentences
            .iter()
            .flat_map(|sentence| lines(*sentence, max_chars))
            .collect();
        Ok(Self {
            language: language.to_owned(),
            max_chars,
            sentences: sentences.iter().map(part).collect(),
            lines: lines.iter().map(part).collect(),
        })
    }

    fn statistics(&self) -> Value {
        let over = self
            .lines
            .iter()
            .filter(|line| line.text.chars().count() > self.max_chars)
            .count();
        let all = self.lines.len() as f64;
        json!({
            "pysbd_sentences": self.sentences.len(),
            "final_segments": self.lines.len(),
            "expansion_ratio": millis(all / self.sentences.len() as f64),
            "character_limit": {
                "max_allowed": self.max_chars,
                "compliance_rate": millis(1.0 - over as f64 / all),
                "over_limit_count": over,
            },
            "has_timestamps": self.lines.iter().any(|line| line.times.is_some()),
        })
    }

    fn json(&self, method: &str, parts: &[Part]) -> Value {
        let segments: Vec<_> = parts
            .iter()
            .zip(1..)
            .map(|(part, id)| {
                let (start, end) = part.times.unzip();
                let mut segment = Object::from_iter([
                    ("id".into(), json!(id)),
                    ("text".into(), json!(part.text)),
                    ("start".into(), json!(start.map(millis))),
                    ("end".into(), json!(end.map(millis))),
                    (
                        "duration".into(),
                        json!(part.times.map(|(start, end)| millis(end - start))),
                    ),
                    ("word_count".into(), json!(part.word_count)),
                    ("char_count".into(), json!(part.text.chars().count())),
                    ("words".into(), json!(part.words)),
                ]);
                put_text(&mut segment, &part.text, None);
                segment
            })
            .collect();
        json!({
            "method": method,
            "language": self.language,
            "max_chars": self.max_chars,
            "total_segments": segments.len(),
            "statistics": self.statistics(),
            "segments": segments,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::Fixture,
        transcript::fixture::{any_transcript, visible},
    };

    const NODE: &str = "wservice.segment_subtitles";

    const TEXT: &str = "Dr. Lee went home. When the rain had stopped at last, we went on to the old lab!";

    fn words() -> Vec<Value> {
        TEXT.split(' ')
            .enumerate()
            .map(|(at, word)| json!({"text": word.trim_matches(['.', ',', '!']).to_lowercase(), "start": at, "end": at + 1}))
            .collect()
    }

    async fn segmented(fixture: &Fixture) -> Result<(Value, Value, Object), String> {
        let output = run(&fixture.context).await.map_err(|error| error.to_string())?;
        assert!(fixture.context.node.output_is_reusable(&output));
        let file =
            |field: &str| serde_json::from_slice::<Value>(&fs::read(output[field].as_str().unwrap()).unwrap()).unwrap();
        Ok((
            file("segmented_subtitle_file"),
            file("segmented_subtitle_pysbd_file"),
            output,
        ))
    }

    fn texts(json: &Value) -> Vec<&str> {
        json["segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part["text"].as_str().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn sentences_longer_than_the_limit_are_cut_and_get_the_times_of_their_words() {
        let fixture = Fixture::with_input(NODE, |_| json!({"subtitle_text": TEXT, "words": words()}));
        let (lines, sentences, output) = segmented(&fixture).await.unwrap();
        assert_eq!(
            texts(&sentences),
            [
                "Dr. Lee went home.",
                "When the rain had stopped at last, we went on to the old lab!"
            ]
        );
        assert_eq!(
            texts(&lines),
            [
                "Dr. Lee went home.",
                "When the rain had stopped at last,",
                "we went on to the old lab!"
            ]
        );
        let line = &lines["segments"][1];
        assert_eq!(
            (&line["start"], &line["end"], &line["duration"]),
            (&json!(4.0), &json!(11.0), &json!(7.0))
        );
        assert_eq!((&line["word_count"], &line["char_count"]), (&json!(7), &json!(34)));
        assert_eq!(line["words"][6], json!({"text": "last,", "start": 10.0, "end": 11.0}));
        assert_eq!(
            output["statistics"],
            json!({
                "pysbd_sentences": 2, "final_segments": 3, "expansion_ratio": 1.5,
                "character_limit": {"max_allowed": 42, "compliance_rate": 1.0, "over_limit_count": 0},
                "has_timestamps": true,
            })
        );
    }

    #[tokio::test]
    async fn text_and_words_of_a_file_are_found_by_paths() {
        let qwen = json!({"text": TEXT, "time_stamps": words()});
        let fixture = Fixture::with_input(
            NODE,
            |fixture| json!({"subtitle_file": fixture.file("a.json", qwen.to_string())}),
        );
        let (lines, ..) = segmented(&fixture).await.unwrap();
        assert_eq!(lines["segments"][2]["end"], 18.0);
        let word = |word: &str, start: f64| json!({"word": word, "start": start, "end": start + 1.0});
        let whisper = json!({"segments": [
            {"text": " One two.", "words": [word(" One", 0.0), word(" two.", 1.0)]},
            {"text": " Three.", "words": [word(" Three.", 2.0)]},
        ]});
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "subtitle_file": fixture.file("b.json", whisper.to_string()),
                "text_json_path": "join('', segments[].text)",
                "words_json_path": "time_stamps, segments[].words[]",
            })
        });
        let (lines, ..) = segmented(&fixture).await.unwrap();
        assert_eq!(texts(&lines), ["One two.", "Three."]);
        assert_eq!(lines["segments"][1]["start"], 2.0);
    }

    #[tokio::test]
    async fn transcripts_and_subtitles_of_any_format_are_taken_without_paths() {
        let word = |word: &str, start: f64| json!({"word": word, "start": start, "end": start + 1.0});
        let whisper = json!({"segments": [
            {"start": 0, "end": 2, "text": " One two.", "words": [word(" One", 0.0), word(" two.", 1.0)]},
            {"start": 2, "end": 3, "text": " Three.", "words": [word(" Three.", 2.0)]},
        ]});
        let srt = "1\n00:00:00,000 --> 00:00:02,000\nOne two.\n\n2\n00:00:02,000 --> 00:00:03,000\n<i>Three.</i>\n";
        for content in [whisper.to_string(), srt.to_owned()] {
            let fixture = Fixture::with_input(NODE, |fixture| json!({"subtitle_file": fixture.file("a", content)}));
            let (lines, ..) = segmented(&fixture).await.unwrap();
            assert_eq!(texts(&lines), ["One two.", "Three."]);
            assert_eq!(
                (&lines["segments"][1]["start"], &lines["segments"][1]["end"]),
                (&json!(2.0), &json!(3.0))
            );
        }
    }

    #[tokio::test]
    async fn a_file_is_read_in_the_encoding_that_was_asked_for() {
        let text = json!({"text": "\u{4f60}\u{597d}\u{3002}"}).to_string();
        let (bytes, ..) = encoding_rs::GBK.encode(&text);
        let fixture = Fixture::with_input(
            NODE,
            |fixture| json!({"subtitle_file": fixture.file("a.json", &bytes), "encoding": "gbk", "language": "zh"}),
        );
        let (lines, ..) = segmented(&fixture).await.unwrap();
        assert_eq!(texts(&lines), ["\u{4f60}\u{597d}\u{3002}"]);
        assert!(fixture.warning_codes().is_empty(), "{:?}", fixture.warnings());
    }

    #[tokio::test]
    async fn words_without_times_lie_between_their_neighbours_and_the_result_says_so() {
        let given = json!([{"text": "in", "start": 0.5, "end": 1.0}, {"text": "2014."}, {"text": "Yes.", "start": 8.0, "end": 8.5}]);
        let inline = json!({"subtitle_text": "in 2014. Yes.", "words": given});
        let in_file = |fixture: &Fixture| {
            let file = json!({"text": "in 2014. Yes.", "time_stamps": given}).to_string();
            json!({"subtitle_file": fixture.file("a.json", file)})
        };
        for fixture in [
            Fixture::with_input(NODE, |_| inline.clone()),
            Fixture::with_input(NODE, in_file),
        ] {
            let (lines, ..) = segmented(&fixture).await.unwrap();
            assert_eq!(texts(&lines), ["in 2014.", "Yes."]);
            assert_eq!(lines["segments"][0]["end"], 2.25);
            assert_eq!(fixture.warning_codes(), ["times_estimated"]);
        }
    }

    #[tokio::test]
    async fn without_words_nothing_is_lost_and_there_are_no_times() {
        let chinese = "字".repeat(100);
        let fixture = Fixture::with_input(
            NODE,
            |_| json!({"subtitle_text": chinese, "max_chars": 40, "language": "zh"}),
        );
        let (lines, _, output) = segmented(&fixture).await.unwrap();
        assert_eq!(texts(&lines).concat(), chinese);
        assert_eq!(lines["total_segments"], 3);
        assert_eq!(lines["segments"][0]["start"], Value::Null);
        assert_eq!(output["statistics"]["has_timestamps"], false);
    }

    #[tokio::test]
    async fn what_cannot_be_used_says_why() {
        for (input, why) in [
            (
                json!({"subtitle_text": "a", "words": [{"text": "a"}]}),
                "none of its words has a time",
            ),
            (
                json!({"subtitle_text": "a b c", "words": [{"text": "x", "start": 0, "end": 1}]}),
                "too little in common",
            ),
            (
                json!({"subtitle_text": "a", "words": [{"start": 0, "end": 1}]}),
                "1 of its 1 words have no text",
            ),
        ] {
            let error = segmented(&Fixture::with_input(NODE, |_| input)).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for (path, why) in [
            ("text[", "text_json_path"),
            ("missing", "its missing is no text"),
            ("empty", "is empty"),
        ] {
            let fixture = Fixture::with_input(
                NODE,
                |fixture| json!({"subtitle_file": fixture.file("a.json", r#"{"text":"a","empty":" "}"#), "text_json_path": path}),
            );
            let error = segmented(&fixture).await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_visible_character_is_lost(
            segments in any_transcript(),
            text in "([a-zA-Z]{1,8}[,;.!?]?[ \n]{1,2}|[好吗你去]{1,9}[。，]?){1,30}",
            max_chars in 1_usize..50,
        ) {
            let plain = Segmented::segment(&text, &[], "en", max_chars).unwrap();
            let said: String = plain.lines.iter().map(|line| visible(&line.text)).collect();
            prop_assert_eq!(said, visible(&text));
            prop_assert!(plain.lines.iter().all(|line| line.text.chars().count() <= max_chars));
            let words: Vec<_> = segments.iter().flat_map(|segment| segment.timed_words()).collect();
            let spoken: String = words.iter().map(|word| word.word.as_str()).collect();
            prop_assume!(!spoken.trim().is_empty());
            let timed = Segmented::segment(&spoken, &words, "en", max_chars).unwrap();
            let said: String = timed.lines.iter().map(|line| visible(&line.text)).collect();
            prop_assert_eq!(said, visible(&spoken));
            let times: Vec<_> = timed.lines.iter().filter_map(|line| line.times).collect();
            prop_assert!(times.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        }
    }
}
