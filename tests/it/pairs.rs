//! Every node takes what others make: each output that gives a transcript, subtitles, turns, clips, a video or sound into each
//! parameter that takes that, by what the node files declare. A language model is stubbed; what programs with models would
//! write is written here.

use std::{collections::BTreeMap, fs};

use onceover_catalog::{Content, ValueKind};
use onceover_tests::{
    Daemon,
    chat::{ChatReply, ChatServer},
    media,
};
use onceover_types::StageState;
use onceover_wire::{NodeInfo, NodeList};
use serde_json::{Value, json};

/// What one output holds.
struct Made {
    from: String,
    content: Content,
    kind: ValueKind,
    value: Value,
}

/// One parameter that takes something.
struct Taker {
    node: String,
    parameter: String,
    contents: Vec<Content>,
    kinds: Vec<ValueKind>,
}

/// What a model makes of a question: lines in capitals, any other text as it is.
fn answer(question: &str) -> String {
    let lines: Vec<_> = question
        .lines()
        .filter_map(|line| {
            let columns: Vec<_> = line.splitn(4, " | ").collect();
            let [key, _, _, text] = columns.as_slice() else {
                return None;
            };
            key.parse::<u32>().ok()?;
            Some(format!("{key} | {}", text.to_uppercase()))
        })
        .collect();
    if lines.is_empty() {
        question.to_owned()
    } else {
        lines.join("\n")
    }
}

async fn daemon(server: &ChatServer) -> Daemon {
    server.always(ChatReply::Made(answer));
    let config = format!(
        "[slots]\nio = 8\ncpu = 4\nllm = 8\n[llm]\nprovider = 'local'\n[llm.providers.local]\nurl = '{}'\nmodel = 'm'\nkey_env = ''\n",
        server.url()
    );
    Daemon::builder()
        .config(&config)
        .env("NO_PROXY", "127.0.0.1")
        .start()
        .await
}

/// Files that nodes are run on, and what programs with models would have written.
struct Sources {
    clip: String,
    tiny: String,
    clips: String,
    sound: String,
    ocr: String,
    transcript: String,
    words_alone: String,
    turns: String,
}

impl Sources {
    fn write(daemon: &Daemon) -> Self {
        let path = |name: &str| daemon.dir().join(name).display().to_string();
        let put = |name: &str, json: Value| {
            fs::write(path(name), json.to_string()).unwrap();
            path(name)
        };
        media::clip(path("clip.mp4").as_ref(), 8);
        media::tiny_clip(path("tiny.mp4").as_ref(), 2);
        media::sound(path("sound.wav").as_ref(), 8);
        let reading = |frames: std::ops::Range<u32>, text: &'static str| {
            frames.map(move |frame| (frame.to_string(), json!([text, []])))
        };
        let ocr: serde_json::Map<String, Value> = reading(1..90, "Where are you?")
            .chain(reading(100..190, "I am at home."))
            .collect();
        let word = |word: &str, start: f64| json!({"word": word, "text": word, "start": start, "end": start + 0.8});
        let words: [Value; 7] = [
            word(" Where", 0.0),
            word(" are", 1.0),
            word(" you?", 2.0),
            word(" I", 4.0),
            word(" am", 5.0),
            word(" at", 6.0),
            word(" home.", 7.0),
        ];
        let segment = |words: &[Value], text: &str| json!({"id": 1, "start": words[0]["start"], "end": words[words.len() - 1]["end"], "text": text, "words": words});
        Self {
            ocr: put("ocr.json", ocr.into()),
            transcript: put(
                "transcript.json",
                json!({"metadata": {}, "statistics": {}, "segments": [segment(&words[..3], " Where are you?"), segment(&words[3..], " I am at home.")]}),
            ),
            words_alone: put(
                "words.json",
                json!({"text": "Where are you? I am at home.", "language": "English", "time_stamps": words}),
            ),
            turns: put(
                "turns.json",
                json!({"success": true, "segments": [
                    {"start": 0.0, "end": 3.0, "duration": 3.0, "speaker": "SPEAKER_00"}, {"start": 3.5, "end": 8.0, "duration": 4.5, "speaker": "SPEAKER_01"}]}),
            ),
            clips: put(
                "clips.json",
                json!({"clips": [{"id": 1, "start": 0.2, "end": 1.0, "text": "Hello", "audio_path": path("sound.wav"), "duration": 0.5}]}),
            ),
            clip: path("clip.mp4"),
            tiny: path("tiny.mp4"),
            sound: path("sound.wav"),
        }
    }

    /// What a node needs beside what it is tried with; none: it cannot run here, and its outputs are `written`.
    fn input(&self, node: &str) -> Option<Value> {
        Some(match node {
            "ffmpeg.burn_subtitles" => {
                json!({"video_path": self.tiny, "subtitle_path": self.transcript, "preset": "ultrafast"})
            }
            "ffmpeg.mux_subtitles" => json!({"video_path": self.tiny, "subtitle_path": self.transcript}),
            "ffmpeg.mix_dub" => json!({"video_path": self.tiny, "clips_file": self.clips, "original": "replace"}),
            "ffmpeg.probe" | "ffmpeg.extract_audio" => json!({"video_path": self.tiny}),
            "ffmpeg.extract_keyframes" => json!({"video_path": self.tiny, "keyframe_sample_count": 2}),
            "ffmpeg.crop_subtitle_images" => json!({"video_path": self.tiny, "subtitle_area": [0, 30, 64, 48]}),
            "indextts.generate_speech" => json!({"segments": self.transcript, "engine": "espeak"}),
            "ffmpeg.split_audio_segments" => json!({"audio_path": self.sound, "subtitle_path": self.transcript}),
            "paddleocr.postprocess_and_finalize" => json!({"video_path": self.clip, "ocr_results_path": self.ocr}),
            "pyannote_audio.get_speaker_segments" | "pyannote_audio.validate_diarization" => {
                json!({"diarization_file": self.turns})
            }
            "wservice.ai_optimize_text" | "wservice.generate_subtitle_files" | "wservice.prepare_tts_segments" => {
                json!({"segments_file": self.transcript})
            }
            "wservice.check_subtitles" | "wservice.correct_subtitles" => json!({"subtitle_path": self.transcript}),
            "wservice.merge_speaker_based_subtitles"
            | "wservice.merge_speaker_segments"
            | "wservice.merge_with_word_timestamps" => {
                json!({"segments_file": self.transcript, "diarization_file": self.turns})
            }
            "wservice.rebuild_subtitle_with_words" => {
                json!({"segments_file": self.transcript, "optimized_text": "WHERE ARE YOU? I AM AT HOME."})
            }
            "wservice.segment_subtitles" => json!({"subtitle_file": self.transcript}),
            "wservice.translate_subtitles" => json!({"segments_file": self.transcript, "target_language": "fr"}),
            _ => return None,
        })
    }

    /// What a node whose program is not here would give.
    fn written(&self, node: &str, output: &str) -> Value {
        match (node, output) {
            (_, "transcribe_result_file") => json!(self.words_alone),
            (_, "segments_file") => json!(self.transcript),
            (_, "diarization_file") => json!(self.turns),
            (_, "vocal_audio" | "instrumental_audio") => json!(self.sound),
            _ => panic!("the content of {output} of {node} has to be described here"),
        }
    }
}

async fn ended(daemon: &Daemon, task: &str, node: &str) -> (StageState, Value, String) {
    let stage = daemon.until_ended(task, node).await;
    let output = serde_json::from_str(stage.output.get()).expect("JSON");
    (stage.status, output, stage.error.unwrap_or_default())
}

/// The nodes as the daemon lists them.
async fn nodes(daemon: &Daemon) -> Vec<NodeInfo> {
    let list: NodeList = serde_json::from_value(daemon.get("/v1/nodes").await.json()).unwrap();
    list.nodes
}

#[tokio::test]
async fn every_output_is_taken_by_every_parameter_that_takes_what_it_gives() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server).await;
    let sources = Sources::write(&daemon);
    let nodes = nodes(&daemon).await;

    let mut made = Vec::new();
    for node in &nodes {
        let name = node.name.as_str();
        let gives: Vec<_> = node
            .outputs
            .iter()
            .filter_map(|output| Some((output, output.gives?)))
            .collect();
        if gives.is_empty() {
            continue;
        }
        let output = match sources.input(name) {
            Some(input) => {
                let task = format!("made-{name}");
                daemon.submit(&task, name, input).await;
                let (state, output, error) = ended(&daemon, &task, name).await;
                assert_eq!((state, error.as_str()), (StageState::Success, ""), "{name}");
                Some(output)
            }
            None => None,
        };
        made.extend(gives.into_iter().map(|(field, content)| Made {
            from: format!("{name}.{}", field.name),
            content,
            kind: field.kind,
            value: match &output {
                Some(output) => output[&field.name].clone(),
                None => sources.written(name, &field.name),
            },
        }));
    }
    let takers: Vec<_> = nodes
        .iter()
        .flat_map(|node| {
            let takes = node.parameters.iter().filter(|parameter| !parameter.takes.is_empty());
            takes.map(|parameter| Taker {
                node: node.name.to_string(),
                parameter: parameter.name.clone(),
                contents: parameter.takes.clone(),
                kinds: parameter.kinds().collect(),
            })
        })
        .collect();
    assert!(
        made.len() >= 25 && takers.len() >= 40,
        "{} {}",
        made.len(),
        takers.len()
    );

    let mut pairs = BTreeMap::new();
    for (number, (made, taker)) in made
        .iter()
        .flat_map(|made| takers.iter().map(move |taker| (made, taker)))
        .enumerate()
    {
        if !taker.contents.contains(&made.content) || !taker.kinds.contains(&made.kind) {
            continue;
        }
        let Some(mut input) = sources.input(&taker.node) else {
            continue;
        };
        // The file it would have taken is not there for it to fall back on.
        input
            .as_object_mut()
            .unwrap()
            .retain(|name, _| name != "segments_file" || taker.parameter != "segments_data");
        input[&taker.parameter] = made.value.clone();
        let task = format!("pair-{number}");
        daemon.submit(&task, &taker.node, input).await;
        pairs.insert(task, (made, taker));
    }
    assert!(pairs.len() >= 200, "{}", pairs.len());
    for node in [
        "ffmpeg.burn_subtitles",
        "ffmpeg.mux_subtitles",
        "ffmpeg.mix_dub",
        "ffmpeg.probe",
        "wservice.check_subtitles",
    ] {
        assert!(
            pairs.values().any(|(_, taker)| taker.node == node),
            "{node} takes nothing"
        );
    }
    let mut refused = Vec::new();
    for (task, (made, taker)) in pairs {
        let (state, _, error) = ended(&daemon, &task, &taker.node).await;
        if state != StageState::Success {
            refused.push(format!(
                "{} -> {} of {}: {error}",
                made.from, taker.parameter, taker.node
            ));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test]
async fn what_was_read_from_the_picture_is_translated_and_becomes_clips_and_subtitles() {
    let server = ChatServer::start().await;
    let daemon = daemon(&server).await;
    let sources = Sources::write(&daemon);
    let task = "film";
    let run = async |node: &str, input: Value| {
        daemon.submit(task, node, input).await;
        let (state, output, error) = ended(&daemon, task, node).await;
        assert_eq!((state, error.as_str()), (StageState::Success, ""), "{node}");
        output
    };
    let finalize = "paddleocr.postprocess_and_finalize";
    run(finalize, sources.input(finalize).unwrap()).await;
    let of = |node: &str, field: &str| format!("${{{{ stages.{node}.output.{field} }}}}");
    run(
        "wservice.translate_subtitles",
        json!({"segments_file": of(finalize, "json_file"), "target_language": "fr"}),
    )
    .await;
    let translated = of("wservice.translate_subtitles", "translated_segments_file");
    let clips = run("wservice.prepare_tts_segments", json!({"segments_file": translated})).await;
    let texts: Vec<_> = clips["prepared_segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|clip| clip["text"].as_str().unwrap())
        .collect();
    // The second cue is too short for its translation, which leaves it as it was read.
    assert_eq!(texts.concat(), "WHERE ARE YOU? I am at home.");
    let files = run("wservice.generate_subtitle_files", json!({"segments_file": translated})).await;
    let srt = fs::read_to_string(files["subtitle_path"].as_str().unwrap()).unwrap();
    assert!(srt.contains("WHERE ARE YOU?"), "{srt}");
}
