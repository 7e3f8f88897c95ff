//! Videos and pipelines for the dashboard: one under way, one that failed, one never run.

use onceover_tui::{
    key::parse_keys,
    model::Model,
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::{RunId, StageState, VideoId};
use onceover_wire::{
    Event as Change, EventKind, PipelineChange, PipelineInfo, PipelineList, PipelineStepInfo, Processing,
    ProcessingKind, ProcessingStatus, ProcessingStep, StageSummary, StepStatus, TaskItem, Video, VideoPage, VideoProbe,
    VideoSource,
};

use crate::fixture::*;

/// What `sample` is made of here: a chain, and a step beside it.
pub const STEPS: [(&str, &str, u32, &[&str]); 4] = [
    ("extract_audio", "ffmpeg.extract_audio", 10, &[]),
    (
        "transcribe_audio",
        "faster_whisper.transcribe_audio",
        20,
        &["extract_audio"],
    ),
    (
        "generate_subtitle_files",
        "wservice.generate_subtitle_files",
        10,
        &["transcribe_audio"],
    ),
    ("extract_keyframes", "ffmpeg.extract_keyframes", 10, &[]),
];

pub fn video_id(text: &str) -> VideoId {
    VideoId::parse(text).unwrap()
}

/// The n-th run there was.
pub fn run(n: u8) -> RunId {
    RunId::parse(&format!("0190c0de-0000-7000-8000-0000000001{n:02}")).unwrap()
}

/// A run of a stage, of the n-th processing.
pub fn stage_run(n: u8) -> RunId {
    RunId::parse(&format!("0190c0de-0000-7000-8000-0000000002{n:02}")).unwrap()
}

/// A processing with its steps in these states.
pub fn processing(
    video: &str,
    n: u8,
    revision: u64,
    status: ProcessingStatus,
    progress: u8,
    steps: [StepStatus; 4],
) -> Processing {
    let video_id = video_id(video);
    let tasks = STEPS
        .iter()
        .zip(steps)
        .map(|((name, node_name, weight, needs), status)| {
            let begun = !matches!(status, StepStatus::Pending | StepStatus::Skipped);
            ProcessingStep {
                name: (*name).into(),
                task_name: node(node_name),
                status,
                progress: match status {
                    StepStatus::Completed => 100,
                    StepStatus::Processing => 40,
                    _ => 0,
                },
                weight: *weight,
                optional: false,
                needs: needs.iter().map(|need| (*need).into()).collect(),
                started_at: begun.then(|| at(-90.0)),
                ended_at: (status == StepStatus::Completed).then(|| at(-60.0)),
                error: (status == StepStatus::Failed).then(|| "no speech found".into()),
                reuse_hit: None,
                fresh: false,
                run_id: begun.then(|| stage_run(n)),
                failures: 0,
                retry_at: None,
                warnings: 0,
                warnings_retryable: false,
            }
        });
    Processing {
        task_id: video_id.task(),
        video_id,
        pipeline: "sample".into(),
        kind: ProcessingKind::First,
        run_id: run(n),
        revision,
        status,
        progress,
        tasks: tasks.collect(),
        started_at: Some(at(-95.0)),
        updated_at: at(-1.0),
        ended_at: (!status.in_flight()).then(|| at(-1.0)),
        error: (status == ProcessingStatus::Failed).then(|| "transcribe_audio: no speech found".into()),
        clearing: false,
    }
}

/// Audio is done, the transcript under way, keyframes wait for a slot, subtitles for the transcript.
pub fn under_way() -> Processing {
    use StepStatus::*;
    processing(
        "talk",
        1,
        5,
        ProcessingStatus::Processing,
        36,
        [Completed, Processing, Pending, Pending],
    )
}

pub fn of_run(state: StageState, n: u8) -> StageSummary {
    StageSummary {
        run_id: Some(stage_run(n)),
        ..stage(state)
    }
}

/// The task of `talk`, with the stages there are of it.
pub fn talk(processing: Processing) -> TaskItem {
    let transcribe = StageSummary {
        progress: Some(42.0),
        queue: "gpu".into(),
        ..of_run(StageState::Running, 1)
    };
    let mut item = item(
        "video-talk",
        100.0,
        &[
            ("ffmpeg.extract_audio", of_run(StageState::Success, 1)),
            ("faster_whisper.transcribe_audio", transcribe),
        ],
    );
    item.pipeline = Some(Box::new(processing));
    item
}

/// The task of `clip`, whose pipeline failed.
pub fn clip() -> TaskItem {
    use StepStatus::*;
    let failed = StageSummary {
        error: Some("no speech found".into()),
        ..of_run(StageState::Failed, 2)
    };
    let mut item = item(
        "video-clip",
        200.0,
        &[
            ("ffmpeg.extract_audio", of_run(StageState::Success, 2)),
            ("faster_whisper.transcribe_audio", failed),
        ],
    );
    let mut processing = processing(
        "clip",
        2,
        9,
        ProcessingStatus::Failed,
        20,
        [Completed, Failed, Skipped, Completed],
    );
    processing.tasks[0].reuse_hit = Some(true);
    item.pipeline = Some(Box::new(processing));
    item
}

/// The dashboard on both and on a task that is no video's.
pub fn of_videos(size: (u16, u16)) -> Model {
    let other = item(
        "podcast-112",
        400.0,
        &[("ffmpeg.extract_audio", stage(StageState::Success))],
    );
    dashboard_of(vec![talk(under_way()), clip(), other], size)
}

pub fn pipeline_event(seq: u64, change: PipelineChange) -> UiEvent {
    UiEvent::Change(Box::new(Change {
        v: 1,
        seq,
        ts: at(0.0),
        task_id: change.video_id.task(),
        task_name: None,
        kind: EventKind::Pipeline,
        stage: None,
        pipeline: Some(change),
    }))
}

/// A change of `talk`'s first processing.
pub fn moved(revision: u64, progress: u8, steps_changed: bool) -> PipelineChange {
    PipelineChange {
        video_id: video_id("talk"),
        run_id: run(1),
        revision,
        status: ProcessingStatus::Processing,
        progress,
        steps_changed,
    }
}

fn video(id: &str, title: &str, source: VideoSource, processing: Option<Processing>) -> Video {
    let video_id = video_id(id);
    Video {
        task_id: video_id.task(),
        video_id,
        title: title.into(),
        source,
        path: format!("/srv/videos/{id}.mp4"),
        url: (source == VideoSource::Url).then(|| format!("https://example.org/{id}.mp4")),
        probe: VideoProbe {
            duration: Some(61.5),
            size: 12_400_000,
            format: "mov,mp4".into(),
            width: Some(1280),
            height: Some(720),
            frame_rate: Some(25.0),
            video_codec: Some("h264".into()),
            audio_codecs: vec!["aac".into()],
        },
        created_at: at(-100.0),
        processing: processing.map(Box::new),
    }
}

pub fn registered() -> VideoPage {
    VideoPage {
        items: vec![
            video("new", "아직 아무것도", VideoSource::Upload, None),
            video("talk", "강의 7 · Talk", VideoSource::Path, Some(under_way())),
            video(
                "clip",
                "A clip",
                VideoSource::Url,
                clip().pipeline.map(|pipeline| *pipeline),
            ),
        ],
        next_cursor: None,
    }
}

pub fn pipelines() -> PipelineList {
    let steps = STEPS.iter().map(|(name, node_name, weight, needs)| PipelineStepInfo {
        name: (*name).into(),
        task_name: node(node_name),
        weight: *weight,
        optional: false,
        needs: needs.iter().map(|need| (*need).into()).collect(),
        retries: 0,
        missing: Vec::new(),
    });
    let steps: Vec<_> = steps.collect();
    let pipeline = |name: &str, title: &str, steps: &[PipelineStepInfo]| PipelineInfo {
        name: name.into(),
        title: title.into(),
        purpose: String::new(),
        steps: steps.to_vec(),
    };
    let mut lacking = steps[1].clone();
    lacking.missing = vec!["its environment".into()];
    PipelineList {
        default: "subtitles".into(),
        pipelines: vec![
            pipeline("sample", "Sample", &steps),
            pipeline("subtitles", "Subtitles", &[steps[0].clone(), lacking]),
        ],
    }
}

/// Answers what is asked for of videos and pipelines, as the daemon would.
pub fn answer_videos(model: &mut Model, effects: &[Effect]) {
    answer(model, effects);
    for effect in effects {
        let Effect::Call { id, call } = effect else {
            continue;
        };
        let reply = match call {
            Call::Videos => Reply::Videos(Ok(registered())),
            Call::Pipelines => Reply::Pipelines(Ok(pipelines())),
            _ => continue,
        };
        update(model, UiEvent::Reply { id: *id, reply });
    }
}

/// Presses keys, with the daemon's answers in between; what was asked for besides is returned.
pub fn press_videos(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut all = Vec::new();
    for key in parse_keys(keys).unwrap() {
        let effects = update(model, UiEvent::Key(key));
        answer_videos(model, &effects);
        all.extend(effects);
    }
    all
}

/// The calls that change something, with their ids.
pub fn changes(effects: &[Effect]) -> Vec<(u64, Call)> {
    let of = |effect: &Effect| match effect {
        Effect::Call { id, call } if call.changes() => Some((*id, call.clone())),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// The reads of how far a video is, by request.
pub fn reads(effects: &[Effect]) -> Vec<u64> {
    let of = |effect: &Effect| match effect {
        Effect::Call {
            id,
            call: Call::Processing { .. },
        } => Some(*id),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}
