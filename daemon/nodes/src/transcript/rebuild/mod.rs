//! `wservice.rebuild_subtitle_with_words`: puts a corrected text back onto a transcript's word times and cuts new cues.

mod report;

use serde_json::{Value, json};

use super::source::{self, TranscriptSource};
use crate::{
    input::{Input, compute, create_folder, path_text, read, write, write_json},
    spoken::{
        TranscriptSegment, Word,
        align::{LEAST_ALIKE, align},
        cut::{CutCue, CutLimits, cut_into_cues, one_speaker, trimmed_text},
        millis, put_in_order, words_json,
    },
    timed_text,
};
use onceover_run::{Object, RunContext, RunError, paths::Opened};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let source = TranscriptSource::find(context, "segments_data", "segments_file")?;
    let wanted = match input.text("optimized_text").filter(|text| !text.trim().is_empty()) {
        Some(text) => Wanted::Text(text.to_owned()),
        None => Wanted::File(input.file("optimized_text_file")?),
    };
    let limits = CutLimits {
        max_chars: input.count("max_chars")? as usize,
        max_cps: input.number("max_cps")?,
        min_duration: input.number("min_duration")?,
        max_duration: input.number("max_duration")?,
    };
    let language = input.text("language").unwrap_or("en").to_owned();
    let with_report = input.value("report").is_some_and(is_yes);
    let stem = source.stem.clone().unwrap_or_else(|| "segments".into());
    let folder = create_folder(context, "data")?;
    let mut segments = source.segments(context).await?;
    source::with_words(context, &mut segments);
    let (output, note) = compute(move || {
        let wanted = wanted.read()?;
        let rebuilt = Rebuilt::rebuild(segments, &wanted, &language, &limits)?;
        let path = folder.join(format!("{stem}_optimized_words.json"));
        write_json(&path, &rebuilt.json())?;
        let mut output = Object::from_iter([("optimized_segments_file".into(), json!(path_text(&path)))]);
        if with_report {
            let path = folder.join(format!("{stem}_rebuild_report.txt"));
            write(&path, report::compose_report(&rebuilt, &wanted).as_bytes())?;
            output.insert("report_file".into(), json!(path_text(&path)));
        }
        let note = format!(
            "{} words, {} cues, {:.3} alike",
            rebuilt.before.len(),
            rebuilt.cues.len(),
            rebuilt.ratio
        );
        Ok((output, note))
    })
    .await?;
    context.log.line(&note);
    context.progress.report(100.0, None);
    Ok(output)
}

/// The source of the corrected text.
enum Wanted {
    Text(String),
    File(Opened),
}

impl Wanted {
    fn read(self) -> Result<String, RunError> {
        let (text, name) = match self {
            Self::Text(text) => (text, "input_data.optimized_text".to_owned()),
            Self::File(file) => {
                let text = timed_text::plain_text(&read(&file)?);
                (text, file.display().to_string())
            }
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Err(RunError::failed(format!(
                "{name} is empty; there is no text to put onto the words"
            )));
        }
        Ok(text.to_owned())
    }
}

/// Texts and numbers that older clients send count, too.
fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => ["1", "true", "yes", "y", "on"].contains(&text.trim().to_lowercase().as_str()),
        _ => false,
    }
}

struct Rebuilt {
    /// The words as they were.
    before: Vec<Word>,
    /// The words of the new text, each with the number of the one it was.
    after: Vec<(Word, usize)>,
    words: Vec<Word>,
    cues: Vec<CutCue>,
    ratio: f64,
}

impl Rebuilt {
    fn rebuild(
        segments: Vec<TranscriptSegment>,
        wanted: &str,
        language: &str,
        limits: &CutLimits,
    ) -> Result<Self, RunError> {
        let before = spoken(segments);
        let aligned = align(&before, wanted);
        if aligned.ratio < LEAST_ALIKE {
            return Err(RunError::failed(format!(
                "the text has too little in common with the words ({:.3}, it must be {LEAST_ALIKE}); is it of the same transcript, in the same language?",
                aligned.ratio
            )));
        }
        let after = aligned.respelled(&before);
        let words: Vec<_> = after.iter().map(|(word, _)| word.clone()).collect();
        let cues = cut_into_cues(&words, language, limits);
        Ok(Self {
            ratio: aligned.ratio,
            before,
            after,
            words,
            cues,
        })
    }

    fn json(&self) -> Value {
        let cue = |(cue, id): (&CutCue, usize)| {
            let words = &self.words[cue.words.clone()];
            let mut json = json!({
                "id": id,
                "start": millis(cue.start),
                "end": millis(cue.end),
                "duration": millis(cue.end - cue.start),
                "text": trimmed_text(words),
                "words": words_json(words),
            });
            if let Some(speaker) = one_speaker(words) {
                json["speaker"] = json!(speaker);
            }
            json
        };
        self.cues.iter().zip(1..).map(cue).collect()
    }
}

/// Returns all words in time order, each with the speaker of its segment unless it has its own. The order inside a
/// segment stays, and times that go back are corrected.
fn spoken(mut segments: Vec<TranscriptSegment>) -> Vec<Word> {
    segments.sort_by(|a, b| a.start.total_cmp(&b.start));
    let words = segments.iter().flat_map(|segment| {
        segment.timed_words().into_iter().map(|word| Word {
            speaker: word.speaker.clone().or_else(|| segment.speaker.clone()),
            ..word
        })
    });
    put_in_order(words.collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixture::{Fixture, object},
        transcript::fixture::{any_transcript, visible},
    };

    const NODE: &str = "wservice.rebuild_subtitle_with_words";

    const TEXT: &str = "We got to the lab at ten. It was wide open.";

    fn segments() -> Value {
        let word = |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end});
        json!([
            {"start": 0.0, "end": 1.9, "speaker": "S0", "text": " we got to the lap", "words": [
                word(" we", 0.0, 0.4), word(" got", 0.4, 0.8), word(" to", 0.8, 1.0), word(" the", 1.0, 1.4),
                word(" lap", 1.4, 1.9)]},
            {"start": 2.0, "end": 5.0, "speaker": "S0", "text": " um at ten it was open", "words": [
                word(" um", 2.0, 2.2), word(" at", 2.2, 2.5), word(" ten", 2.5, 3.0), word(" it", 3.4, 3.7),
                word(" was", 3.7, 4.1), word(" open", 4.1, 5.0)]},
        ])
    }

    /// Returns the cues and, if there is one, the report.
    async fn rebuilt(input: Value) -> Result<(Value, Option<String>), String> {
        let fixture = Fixture::with_input(NODE, |_| input);
        let output = run(&fixture.context).await.map_err(|error| error.to_string())?;
        assert!(fixture.context.node.output_is_reusable(&output));
        let text = |field: &str| Some(fs::read_to_string(output.get(field)?.as_str()?).unwrap());
        let cues = text("optimized_segments_file").unwrap();
        Ok((serde_json::from_str(&cues).unwrap(), text("report_file")))
    }

    fn texts(cues: &Value) -> Vec<&str> {
        cues.as_array()
            .unwrap()
            .iter()
            .map(|cue| cue["text"].as_str().unwrap())
            .collect()
    }

    #[tokio::test]
    async fn d48_the_worked_example_joins_added_words_with_a_blank() {
        let (cues, report) = rebuilt(json!({"segments_data": segments(), "optimized_text": TEXT, "report": true}))
            .await
            .unwrap();
        // The older system wrote "It was wideopen.".
        for (at, start, end, text) in [
            (0, 0.0, 3.0, "We got to the lab at ten."),
            (1, 3.4, 5.0, "It was wide open."),
        ] {
            let cue = &cues[at];
            assert_eq!(cue["text"], text);
            assert_eq!((&cue["start"], &cue["end"]), (&json!(start), &json!(end)));
            assert_eq!((&cue["speaker"], &cue["id"]), (&json!("S0"), &json!(at + 1)));
        }
        let words: Vec<_> = cues[0]["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word["word"].as_str().unwrap())
            .collect();
        assert_eq!(words, ["We", " got", " to", " the", " lab", "", " at", " ten."]);
        assert_eq!(cues[1]["words"][2]["word"], " wide");
        let report = report.unwrap();
        for line in [
            "cue 1: replaced \"we\" with \"We\"",
            "cue 1: replaced \"lap um\" with \"lab\"",
            "cue 2: replaced \"open\" with \"wide open.\"",
        ] {
            assert!(report.contains(line), "{report}");
        }
    }

    #[tokio::test]
    async fn d48_a_word_added_at_the_start_comes_first() {
        let input = json!({"segments_data": segments(), "optimized_text": format!("Yesterday {TEXT}")});
        let (cues, _) = rebuilt(input).await.unwrap();
        assert_eq!(cues[0]["text"], "Yesterday We got to the lab at ten.");
    }

    #[tokio::test]
    async fn d48_chinese_with_one_word_per_character_is_accepted() {
        let words: Vec<_> = "今天我门去公园玩"
            .chars()
            .enumerate()
            .map(|(at, c)| json!({"word": c.to_string(), "start": at, "end": at + 1}))
            .collect();
        let (cues, _) = rebuilt(json!({
            "segments_data": [{"start": 0, "end": 8, "text": "今天我门去公园玩", "words": words}],
            "optimized_text": "今天，我们去公园。\n玩！",
            "language": "zh",
        }))
        .await
        .unwrap();
        assert_eq!(texts(&cues), ["今天，我们去公园。", "玩！"]);
        assert_eq!(cues[1]["start"], 7.0);
    }

    #[tokio::test]
    async fn a_text_of_something_else_is_refused() {
        let other = json!({"segments_data": segments(), "optimized_text": "Nothing of this was ever said by anybody."});
        let error = rebuilt(other).await.unwrap_err();
        assert!(error.contains("too little in common"), "{error}");
        let timeless = json!({"segments_data": [{"start": 0, "end": 1, "text": "a"}], "optimized_text": "A."});
        assert_eq!(texts(&rebuilt(timeless).await.unwrap().0), ["A."]);
    }

    #[tokio::test]
    async fn files_and_the_words_older_clients_use_for_yes_are_taken() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("talk.json", json!({"segments": segments()}).to_string()),
                "optimized_text_file": fixture.file("talk.txt", format!("\u{feff}{TEXT}\n")),
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let path = fixture.context.dir.join("data/talk_optimized_words.json");
        assert_eq!(Value::Object(output), json!({"optimized_segments_file": path}));
        for (value, yes) in [
            (json!("Yes"), true),
            (json!(1), true),
            (json!("no"), false),
            (json!(0), false),
            (json!(true), true),
        ] {
            assert_eq!(is_yes(&value), yes, "{value}");
        }
        let empty = Fixture::with_input(
            NODE,
            |fixture| json!({"segments_data": segments(), "optimized_text_file": fixture.file("a.txt", " \n")}),
        );
        assert!(
            run(&empty.context)
                .await
                .unwrap_err()
                .to_string()
                .contains("a.txt is empty")
        );
    }

    #[tokio::test]
    async fn limits_of_the_request_are_honoured() {
        let mut input = json!({"segments_data": segments(), "optimized_text": TEXT});
        input.as_object_mut().unwrap().extend(object(json!({"max_chars": 14})));
        let (cues, report) = rebuilt(input).await.unwrap();
        assert_eq!(texts(&cues), ["We got to the", "lab at ten.", "It was", "wide open."]);
        assert_eq!(report, None);
    }

    proptest! {
        #[test]
        fn the_cues_say_the_whole_text_and_times_never_go_back(
            segments in any_transcript(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), "[a-z]{1,5}[.,]?"), 0..3),
        ) {
            prop_assume!(segments.iter().any(|segment| !segment.words.is_empty()));
            let mut wanted: Vec<String> = spoken(segments.clone()).into_iter().map(|word| word.word).collect();
            for (place, word) in edits {
                let at = place.index(wanted.len());
                wanted.insert(at, format!(" {word}"));
            }
            let wanted = wanted.concat();
            if let Ok(rebuilt) = Rebuilt::rebuild(segments, &wanted, "en", &CutLimits::default()) {
                let json = rebuilt.json();
                prop_assert_eq!(visible(&texts(&json).concat()), visible(&wanted));
                let mut reached = 0.0;
                for cue in json.as_array().unwrap() {
                    let (start, end) = (cue["start"].as_f64().unwrap(), cue["end"].as_f64().unwrap());
                    prop_assert!(reached <= start && start <= end, "{}", json);
                    reached = end;
                }
            }
        }
    }
}
