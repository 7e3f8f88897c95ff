//! The engine `espeak` of `indextts.generate_speech`: espeak-ng speaks a text, or every cue of a transcript. It takes
//! no model and follows no voice.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::json;

use super::{
    clips::{self, Clip},
    wav::{self, WavWriter},
};
use crate::{
    input::{Input, create_folder, path_text, write_json},
    spoken::{Cue, millis},
};
use onceover_run::{
    Object, RunContext, RunError,
    tool::Tool,
    warnings::{Code, Warning},
};

/// Words a minute: a little slower than its own, as people speak.
const WORDS_A_MINUTE: &str = "165";

/// Seconds between clips in the file of all of them.
const PAUSE: f64 = 0.2;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let begun = Instant::now();
    let input = Input(context);
    let name = file_name(input.text("output_path").unwrap_or("speech.wav"))?;
    let engine = Espeak {
        context,
        voice: voice(context).await?,
        scratch: create_folder(context, "audio")?.join(".clip.wav"),
    };
    let target = engine.scratch.with_file_name(name);
    let mut output = match input.text("text").map(str::trim) {
        Some("") => {
            return Err(RunError::failed("input_data.text is blank: there is nothing to speak"));
        }
        Some(text) => engine.speak_text(text, &target).await?,
        None => {
            engine
                .speak_cues(&clips::cues(context, "segments").await?, &target)
                .await?
        }
    };
    // There is none when every cue was empty.
    let _ = fs::remove_file(&engine.scratch);
    let voice = &engine.voice;
    context.warnings.add(
        Warning::new(
            Code::VoiceNotCloned,
            format!("espeak-ng spoke with its voice '{voice}'; no voice was cloned"),
        )
        .with("engine", "espeak")
        .with("voice", voice.as_str()),
    );
    output.extend(Object::from_iter([
        ("audio_path".into(), json!(path_text(&target))),
        ("status".into(), json!("success")),
        ("engine".into(), json!("espeak")),
        ("voice".into(), json!(voice)),
        ("model_name".into(), json!("espeak-ng")),
        ("device".into(), json!("cpu")),
        ("processing_time".into(), json!(millis(begun.elapsed().as_secs_f64()))),
    ]));
    Ok(output)
}

/// Returns the last part of a path a client may give: the file lies in the run's folder, always.
fn file_name(given: &str) -> Result<PathBuf, RunError> {
    let path = Path::new(given.trim());
    let is_wav = path
        .extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("wav"));
    match path.file_name() {
        Some(name) if is_wav => Ok(name.into()),
        _ => Err(RunError::failed(format!(
            "input_data.output_path is '{given}'; the name of the file must end in .wav"
        ))),
    }
}

/// Returns the voice asked for, else one of the language.
async fn voice(context: &RunContext) -> Result<String, RunError> {
    let input = Input(context);
    let (parameter, asked) = match (input.text("voice"), input.text("language")) {
        (Some(voice), _) => ("voice", voice),
        (None, Some(language)) => ("language", language),
        (None, None) => return Ok("en".into()),
    };
    let mut listed = Vec::new();
    let exit = Tool::new("espeak-ng")
        .arg("--voices")
        .run(context, |line| listed.extend(names_of_voice(line)))
        .await?;
    if !exit.is_success() {
        return Err(RunError::failed(format!(
            "espeak-ng cannot list its voices: {}{}",
            exit.in_words(),
            exit.stderr_in_words()
        )));
    }
    choose(asked, &listed).ok_or_else(|| {
        RunError::failed(format!(
            "espeak-ng has no voice for input_data.{parameter} '{asked}'; `espeak-ng --voices` lists those it has"
        ))
    })
}

/// Returns what a line of `espeak-ng --voices` can be asked for by: language, name, other languages.
fn names_of_voice(line: &str) -> Vec<String> {
    let mut columns = line.split_whitespace().skip(1);
    let (language, name) = (columns.next(), columns.nth(1));
    let others = line
        .split('(')
        .skip(1)
        .filter_map(|other| other.split_whitespace().next());
    let names = language.into_iter().chain(name).chain(others);
    names.map(|name| name.replace('_', " ")).collect()
}

/// Returns the name among those listed that was asked for, be it in other letters or without its region.
fn choose(asked: &str, listed: &[String]) -> Option<String> {
    let asked = asked.trim().replace('_', "-");
    let find = |wanted: &str| {
        let found = listed
            .iter()
            .find(|name| name.replace(' ', "-").eq_ignore_ascii_case(wanted));
        found.cloned()
    };
    // Its English is one of a country; the plain code stands for the first of them.
    if asked.eq_ignore_ascii_case("en") || asked.eq_ignore_ascii_case("english") {
        return Some("en".into());
    }
    find(&asked).or_else(|| find(asked.split('-').next()?))
}

struct Espeak<'a> {
    context: &'a RunContext,
    voice: String,
    /// Where each clip is written first.
    scratch: PathBuf,
}

impl Espeak<'_> {
    async fn speak_text(&self, text: &str, target: &Path) -> Result<Object, RunError> {
        let Some((rate, samples)) = self.speak(text).await? else {
            return Err(RunError::failed(
                "espeak-ng gave no sound for this text: no part of it can be spoken",
            ));
        };
        let mut file = WavWriter::create(target, rate)?;
        file.add(&samples)?;
        Ok(Object::from_iter([
            ("duration".into(), json!(millis(file.finish()?))),
            ("sample_rate".into(), json!(rate)),
            ("text_length".into(), json!(text.chars().count())),
        ]))
    }

    /// Speaks a clip for each cue, all in one file.
    async fn speak_cues(&self, cues: &[Cue], target: &Path) -> Result<Object, RunError> {
        let mut file: Option<(WavWriter, u32)> = None;
        let (mut clips, mut silent, mut letters) = (Vec::new(), Vec::new(), 0);
        for (done, cue) in cues.iter().enumerate() {
            let text = cue.text.split_whitespace().collect::<Vec<_>>().join(" ");
            match self.speak(&text).await? {
                None => silent.push(cue.id.to_string()),
                Some((rate, samples)) => {
                    let (file, _) = match &mut file {
                        Some(file) => file,
                        None => file.insert((WavWriter::create(target, rate)?, rate)),
                    };
                    let offset = file.add(&samples)?;
                    let duration = file.seconds() - offset;
                    file.add(&vec![0; (PAUSE * f64::from(rate)) as usize])?;
                    letters += text.chars().count();
                    clips.push(clip(cue, text, target, offset, duration));
                }
            }
            let share = (done + 1) as f64 / cues.len() as f64;
            let message = format!("{} of {} cues", done + 1, cues.len());
            self.context.progress.report(100.0 * share, Some(message));
        }
        let Some((file, rate)) = file else {
            return Err(RunError::failed(format!(
                "espeak-ng gave no sound for any of the {} cues: they have no text that can be spoken",
                cues.len()
            )));
        };
        let listed = target.with_file_name("clips.json");
        write_json(&listed, &clips::to_json(&clips))?;
        clips::warn_left_out(self.context, &silent, cues.len(), "no part of them can be spoken");
        Ok(Object::from_iter([
            ("duration".into(), json!(millis(file.finish()?))),
            ("sample_rate".into(), json!(rate)),
            ("text_length".into(), json!(letters)),
            ("clips_file".into(), json!(path_text(&listed))),
            ("clips_count".into(), json!(clips.len())),
            ("cues_count".into(), json!(cues.len())),
        ]))
    }

    /// Speaks a text. Returns its sound without silence around it, or `None` if there is no sound.
    async fn speak(&self, text: &str) -> Result<Option<(u32, Vec<i16>)>, RunError> {
        if !text.chars().any(char::is_alphanumeric) {
            return Ok(None);
        }
        let exit = Tool::new("espeak-ng")
            .args(["-b", "1", "-s", WORDS_A_MINUTE, "-v", &self.voice, "--stdin", "-w"])
            .arg(&self.scratch)
            // Two brackets would begin the names of sounds.
            .stdin(text.replace("[[", "[ [").into_bytes())
            .run(self.context, |line| self.context.log.line(line))
            .await?;
        if !exit.is_success() {
            return Err(RunError::failed(format!(
                "espeak-ng failed with {}{}",
                exit.in_words(),
                exit.stderr_in_words()
            )));
        }
        let bytes = fs::read(&self.scratch)
            .map_err(|why| RunError::of_file(format_args!("cannot read {}", self.scratch.display()), &why))?;
        let (rate, samples) = wav::parse(&bytes)
            .map_err(|why| RunError::failed(format!("what espeak-ng wrote cannot be read: {why}")))?;
        Ok(wav::audible(&samples, rate).map(|range| (rate, samples[range].to_vec())))
    }
}

fn clip(cue: &Cue, text: String, file: &Path, offset: f64, duration: f64) -> Clip {
    Clip {
        id: Some(cue.id.into()),
        start: cue.start,
        end: cue.end,
        text,
        speaker: cue.speaker.clone(),
        audio_path: Some(path_text(file)),
        offset,
        duration: Some(duration),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::fixture::Fixture;

    const NODE: &str = "indextts.generate_speech";

    fn fixture(input: Value) -> Fixture {
        let mut given = input;
        given["engine"] = json!("espeak");
        let mut fixture = Fixture::of_node(NODE);
        let catalog = onceover_catalog::shipped::shipped();
        let node = catalog.for_input(NODE, given.as_object().unwrap()).unwrap();
        fixture.context.node = Arc::clone(node);
        fixture.resolve(given.as_object().unwrap());
        fixture
    }

    fn warnings(fixture: &Fixture) -> Value {
        let mut output = Object::new();
        fixture.context.warnings.write_into(&mut output);
        output.remove("warnings").unwrap_or_default()
    }

    #[tokio::test]
    async fn a_text_is_spoken_without_a_sample_and_the_result_says_whose_voice_it_is() {
        let fixture =
            fixture(json!({"text": "-v Guten Morgen [[alle", "language": "de-AT", "output_path": "/x/hallo.wav"}));
        let output = run(&fixture.context).await.unwrap();
        let path = fixture.context.dir.join("audio/hallo.wav");
        assert_eq!(output["audio_path"], json!(path));
        let (rate, samples) = wav::parse(&fs::read(path).unwrap()).unwrap();
        let seconds = samples.len() as f64 / f64::from(rate);
        assert!((0.5..5.0).contains(&seconds), "{seconds}");
        assert_eq!(output["duration"], json!(millis(seconds)));
        assert_eq!((&output["engine"], &output["voice"]), (&json!("espeak"), &json!("de")));
        let warning = &warnings(&fixture)[0];
        assert_eq!(warning["code"], "voice_not_cloned");
        assert_eq!(warning["numbers"], json!({"engine": "espeak", "voice": "de"}));
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn every_cue_becomes_a_clip_and_those_without_sound_are_named() {
        let fixture = fixture(json!({"segments": [
            {"id": 4, "start": 0.5, "end": 2.0, "text": "Hello there.", "speaker": "A"},
            {"id": 5, "start": 2.5, "end": 3.0, "text": "♪ ♪"},
            {"id": 6, "start": 3.5, "end": 5.0, "text": "Second\nline"},
        ]}));
        let output = run(&fixture.context).await.unwrap();
        let listed = fs::read(output["clips_file"].as_str().unwrap()).unwrap();
        let clips = clips::parse(serde_json::from_slice(&listed).unwrap()).unwrap();
        assert_eq!(
            (clips.len(), &output["clips_count"], &output["cues_count"]),
            (2, &json!(2), &json!(3))
        );
        let (rate, samples) = wav::parse(&fs::read(output["audio_path"].as_str().unwrap()).unwrap()).unwrap();
        for (clip, (start, end, text)) in clips
            .iter()
            .zip([(0.5, 2.0, "Hello there."), (3.5, 5.0, "Second line")])
        {
            assert_eq!((clip.start, clip.end, clip.text.as_str()), (start, end, text));
            let from = (clip.offset * f64::from(rate)).round() as usize;
            let length = (clip.duration.unwrap() * f64::from(rate)).round() as usize;
            let piece = &samples[from..from + length];
            let heard = wav::audible(piece, rate).unwrap();
            assert!(
                heard.start < 200 && heard.end + 200 > piece.len(),
                "{heard:?} of {}",
                piece.len()
            );
        }
        let warnings = warnings(&fixture);
        assert_eq!(warnings[0]["code"], "lines_left_out");
        assert_eq!(warnings[0]["numbers"], json!({"lines": 1, "of": 3}));
        assert!(warnings[0]["text"].as_str().unwrap().ends_with(": 2"), "{warnings}");
    }

    #[tokio::test]
    async fn nothing_to_say_and_a_language_without_a_voice_are_failures() {
        for (input, why) in [
            (json!({"text": " "}), "blank"),
            (json!({"text": "..."}), "no sound"),
            (
                json!({"segments": [{"start": 0, "end": 1, "text": "..."}]}),
                "any of the 1 cues",
            ),
            (json!({"text": "Hi", "language": "tlh"}), "input_data.language 'tlh'"),
            (json!({"text": "Hi", "voice": "../etc"}), "input_data.voice '../etc'"),
            (json!({"text": "Hi", "output_path": "a.mp3"}), "output_path"),
        ] {
            let error = run(&fixture(input.clone()).context).await.unwrap_err().to_string();
            assert!(error.contains(why), "{input}: {error}");
        }
    }

    #[test]
    fn a_voice_is_found_by_code_region_and_name() {
        let lines = [
            "Pty Language       Age/Gender VoiceName          File                 Other Languages",
            " 5  cmn             --/M      Chinese_(Mandarin,_latin_as_English) sit/cmn  (zh-cmn 5)(zh 5)",
            " 5  pt-br           --/M      Portuguese_(Brazil) roa/pt-BR           (pt 6)",
            " 2  en-gb           --/M      English_(Great_Britain) gmw/en          (en 2)",
        ];
        let listed: Vec<_> = lines.iter().flat_map(|line| names_of_voice(line)).collect();
        for (asked, voice) in [
            ("zh", Some("zh")),
            ("zh-CN", Some("zh")),
            ("pt_BR", Some("pt-br")),
            ("PT", Some("pt")),
            ("en-US", Some("en")),
            ("English", Some("en")),
            ("xx", None),
        ] {
            assert_eq!(choose(asked, &listed).as_deref(), voice, "{asked}");
        }
    }
}
