//! Pipelines in the tree: planned steps merged with stages, bars moved by events, what is read and when.

use onceover_tui::{
    model::Model,
    update::{Effect, Refusal, Reply, UiEvent, update},
};
use onceover_types::{StageState, Timestamp};
use onceover_wire::{EventKind, PipelineChange, ProcessingStatus, StageSummary, StepStatus};

use crate::{fixture::*, video_fixture::*};

fn row(model: &Model, text: &str) -> String {
    let lines = screen(model);
    // Below the two lines of the header, which name what the cursor is on.
    let found = lines.iter().skip(2).find(|line| line.contains(text));
    found
        .unwrap_or_else(|| panic!("no {text:?} in\n{}", lines.join("\n")))
        .clone()
}

fn read(model: &mut Model, id: u64, processing: onceover_wire::Processing) -> Vec<Effect> {
    let reply = Reply::Processing(Ok(Box::new(processing)));
    let effects = update(model, UiEvent::Reply { id, reply });
    tick(model, 0.0);
    effects
}

#[test]
fn d2_planned_steps_are_shown_in_the_pipelines_order_with_what_blocks_them() {
    let model = of_videos((160, 36));
    let rows: Vec<_> = model.tree.rows.iter().take(5).map(ToString::to_string).collect();
    assert_eq!(
        rows,
        [
            "video-talk",
            "video-talk › ffmpeg.extract_audio",
            "video-talk › faster_whisper.transcribe_audio",
            "video-talk › wservice.generate_subtitle_files",
            "video-talk › ffmpeg.extract_keyframes",
        ]
    );
    assert!(row(&model, "▾ video-talk").contains("sample"));
    assert!(row(&model, "▾ video-talk").contains("● run 36 %"));
    assert!(row(&model, "generate_subtitle").contains("… waits for transcribe_audio"));
    assert!(row(&model, "extract_keyframes").contains("… waiting"));
    // The running step's own figure is its stage's.
    assert!(row(&model, "transcribe_audio").contains("● run 42 %"));
}

#[test]
fn d2_stages_that_are_no_steps_come_after_them() {
    let mut item = talk(under_way());
    item.stages.insert_before(0, node("a.b"), stage(StageState::Success));
    let model = dashboard_of(vec![item], (120, 36));
    assert_eq!(model.tree.rows.last().unwrap().to_string(), "video-talk › a.b");
}

#[test]
fn d1_an_event_moves_the_bar_at_once_and_asks_for_nothing() {
    let mut model = of_videos((160, 36));
    let effects = update(&mut model, pipeline_event(101, moved(6, 40, false)));
    assert_eq!(effects, []);
    assert!(row(&model, "▾ video-talk").contains("● run 40 %"));
    // What came before is no news, and a bar never goes back within a run.
    update(&mut model, pipeline_event(102, moved(6, 70, false)));
    update(&mut model, pipeline_event(103, moved(7, 39, false)));
    assert!(row(&model, "▾ video-talk").contains("● run 40 %"));
}

#[test]
fn a_step_that_changed_is_read_once_at_a_time_and_older_answers_are_dropped() {
    use StepStatus::*;
    let mut model = of_videos((160, 36));
    let asked = reads(&update(&mut model, pipeline_event(101, moved(6, 40, true))));
    assert_eq!(asked.len(), 1);
    // More word of it while the answer is on its way: one more read, after it.
    let more = update(&mut model, pipeline_event(102, moved(7, 44, true)));
    assert!(reads(&more).is_empty());
    assert!(row(&model, "▾ video-talk").contains("44 %"), "the bar does not wait");
    let six = processing(
        "talk",
        1,
        6,
        ProcessingStatus::Processing,
        40,
        [Completed, Failed, Pending, Pending],
    );
    let again = reads(&read(&mut model, asked[0], six));
    assert_eq!(again.len(), 1, "and then once more");
    assert!(
        row(&model, "transcribe_audio").contains("run 42 %"),
        "an older answer is dropped"
    );
    let seven = processing(
        "talk",
        1,
        7,
        ProcessingStatus::Processing,
        44,
        [Completed, Processing, Pending, Completed],
    );
    assert_eq!(read(&mut model, again[0], seven), []);
    assert!(row(&model, "extract_keyframes").contains("✔ done"));
    // A revision that was jumped over is read, whatever the event says of steps.
    assert_eq!(
        reads(&update(&mut model, pipeline_event(103, moved(9, 50, false)))).len(),
        1
    );
}

#[test]
fn a_later_run_is_read_and_late_word_of_the_former_changes_nothing() {
    use StepStatus::*;
    let mut model = of_videos((160, 36));
    let later = PipelineChange {
        run_id: run(2),
        revision: 1,
        progress: 0,
        status: ProcessingStatus::Pending,
        ..moved(0, 0, true)
    };
    let asked = reads(&update(&mut model, pipeline_event(101, later)));
    let newer = processing("talk", 2, 1, ProcessingStatus::Pending, 0, [Pending; 4]);
    // An answer that still tells of the former run is too old.
    read(&mut model, asked[0], under_way());
    assert!(model.store.is_behind(&task_id("video-talk")));
    let asked = reads(&update(&mut model, pipeline_event(102, moved(6, 40, true))));
    read(&mut model, asked[0], newer);
    assert!(
        row(&model, "▾ video-talk").contains("◌ pending"),
        "a new run begins at nothing"
    );
    assert_eq!(update(&mut model, pipeline_event(103, moved(7, 90, true))), []);
    assert!(!row(&model, "▾ video-talk").contains("90 %"));
}

#[test]
fn what_an_earlier_run_left_is_not_shown_as_done_in_this_one() {
    use StepStatus::*;
    let mut newer = processing(
        "talk",
        2,
        1,
        ProcessingStatus::Processing,
        0,
        [Processing, Pending, Pending, Pending],
    );
    for step in &mut newer.tasks {
        step.fresh = true;
    }
    let mut item = talk(newer);
    let done = || of_run(StageState::Success, 1);
    for name in ["faster_whisper.transcribe_audio", "wservice.generate_subtitle_files"] {
        item.stages.insert(node(name), done());
    }
    item.stages
        .insert(node("ffmpeg.extract_audio"), of_run(StageState::Running, 2));
    let mut model = dashboard_of(vec![item], (160, 36));
    assert!(row(&model, "transcribe_audio").contains("… waits for extract_audio"));
    assert!(
        !row(&model, "transcribe_audio").contains("00:30"),
        "nor does its time stand there"
    );
    assert!(!row(&model, "generate_subtitle").contains("✔"));
    press(&mut model, "jj");
    tick(&mut model, 0.2);
    assert_shows(&model, &["earlier run: ✔ done", "again, whatever is stored"]);
    // Its run begins: the stage tells at once, before the pipeline was read again.
    let running = StageSummary {
        revision: 9,
        ..of_run(StageState::Running, 3)
    };
    let name = "faster_whisper.transcribe_audio";
    update(&mut model, change(101, "video-talk", name, EventKind::Started, running));
    assert!(row(&model, "├ faster_whisper").contains("● running"));
    let done = StageSummary {
        revision: 10,
        ended_at: Some(at(1.0)),
        ..of_run(StageState::Success, 3)
    };
    update(&mut model, change(102, "video-talk", name, EventKind::Succeeded, done));
    assert!(
        row(&model, "├ faster_whisper").contains("✔ done"),
        "and its end does not flicker"
    );
}

#[test]
fn a_pipeline_without_a_stage_is_a_row_all_the_same() {
    let mut model = dashboard((120, 36));
    let first = PipelineChange {
        video_id: video_id("new"),
        run_id: run(1),
        revision: 1,
        status: ProcessingStatus::Pending,
        progress: 0,
        steps_changed: true,
    };
    let asked = reads(&update(&mut model, pipeline_event(101, first)));
    let accepted = processing("new", 1, 1, ProcessingStatus::Pending, 0, [StepStatus::Pending; 4]);
    read(&mut model, asked[0], accepted.clone());
    assert_shows(&model, &["▾ video-new", "… waits for transcrib"]);
    // A snapshot that was read without it asks for it again.
    let asked = reads(&update(&mut model, snapshot(items(), 101)));
    assert_hides(&model, "video-new");
    read(&mut model, asked[0], accepted);
    assert_shows(&model, &["▾ video-new"]);
    // Gone from the daemon: gone from the screen.
    let change = PipelineChange {
        video_id: video_id("new"),
        ..moved(3, 0, true)
    };
    let asked = reads(&update(&mut model, pipeline_event(102, change)));
    let reply = Reply::Processing(Err(Refusal {
        status: Some(404),
        text: "no such video".into(),
        ..Refusal::default()
    }));
    update(&mut model, UiEvent::Reply { id: asked[0], reply });
    tick(&mut model, 0.0);
    assert_hides(&model, "video-new");
}

#[test]
fn a_read_that_failed_is_tried_after_the_next_check() {
    let mut model = of_videos((120, 36));
    let asked = reads(&update(&mut model, pipeline_event(101, moved(6, 40, true))));
    let reply = Reply::Processing(Err(Refusal::default()));
    let effects = update(&mut model, UiEvent::Reply { id: asked[0], reply });
    assert!(reads(&effects).is_empty(), "not at once");
    let effects = update(&mut model, UiEvent::System(Box::new(system(101))));
    assert_eq!(reads(&effects).len(), 1);
}

#[test]
fn a_retry_counts_down_and_a_skipped_step_says_why() {
    let mut waits = under_way();
    waits.tasks[1].status = StepStatus::Pending;
    waits.tasks[1].retry_at = Some(at(12.0));
    waits.tasks[1].failures = 1;
    waits.tasks[1].error = Some("out of memory".into());
    waits.tasks[3].status = StepStatus::Skipped;
    waits.tasks[3].error = Some("lacks opencv".into());
    let mut item = talk(waits);
    let failed = of_run(StageState::Failed, 1);
    item.stages.insert(node("faster_whisper.transcribe_audio"), failed);
    let mut model = dashboard_of(vec![item], (160, 36));
    assert!(row(&model, "├ faster_whisper").contains("… next try in 12 s"));
    assert!(row(&model, "ffmpeg.extract_keyf").contains("↷ skipped: lacks opencv"));
    assert_eq!(model.wake_at(), Some(Timestamp::from_millis(NOW + 1000)));
    tick(&mut model, 3.0);
    assert!(row(&model, "├ faster_whisper").contains("… next try in 9 s"));
    tick(&mut model, 20.0);
    assert!(row(&model, "├ faster_whisper").contains("… next try now"));
    assert_eq!(model.wake_at(), None, "nothing counts any more");
}

#[test]
fn a_failed_pipeline_names_its_step_and_a_reused_one_says_so() {
    let mut model = of_videos((160, 36));
    assert!(row(&model, "▾ video-clip").contains("sample ✖ transcribe_audio"));
    assert!(row(&model, "▾ video-clip").contains("✖ failed"));
    let rows = screen(&model);
    let first = rows.iter().position(|line| line.contains("▾ video-clip")).unwrap();
    assert!(rows[first + 1].contains("↺ reused"), "{}", rows[first + 1]);
    assert!(rows[first + 3].contains("↷ skipped"), "{}", rows[first + 3]);
    // What is done to a stage afterwards is the later word.
    let done = StageSummary {
        revision: 9,
        ended_at: Some(at(2.0)),
        ..of_run(StageState::Success, 7)
    };
    let name = "faster_whisper.transcribe_audio";
    update(&mut model, change(101, "video-clip", name, EventKind::Succeeded, done));
    assert!(row(&model, "▾ video-clip").contains("✔ done"));
}

#[test]
fn a_steps_figure_follows_its_stage() {
    let mut model = of_videos((120, 36));
    let running = StageSummary {
        revision: 9,
        progress: Some(71.9),
        ..of_run(StageState::Running, 1)
    };
    let name = "faster_whisper.transcribe_audio";
    update(
        &mut model,
        change(101, "video-talk", name, EventKind::Progress, running),
    );
    press_videos(&mut model, "rr<enter>");
    assert_shows(&model, &["running: transcribe_audio (71 %)"]);
    press_videos(&mut model, "<esc>v");
    assert_shows(&model, &["● transcribe_audio  running 71 %"]);
}

#[test]
fn only_what_waits_includes_planned_steps() {
    let mut model = of_videos((120, 36));
    press(&mut model, "p");
    let rows: Vec<_> = model.tree.rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        rows,
        [
            "video-talk",
            "video-talk › wservice.generate_subtitle_files",
            "video-talk › ffmpeg.extract_keyframes"
        ]
    );
}

#[test]
fn a_planned_step_tells_in_its_detail_what_it_is_and_waits_for() {
    let mut model = of_videos((120, 36));
    press(&mut model, "jjj");
    tick(&mut model, 0.2);
    assert_shows(
        &model,
        &[
            "video-talk › ws",
            "waits     for transcribe_audio",
            "step      generate_subtitle_files of",
            "Planned by the pipeline",
        ],
    );
    press(&mut model, "kkk");
    tick(&mut model, 0.2);
    assert_shows(&model, &["pipeline  sample", "● running 36 %, 1 of 4 steps"]);
}

#[test]
fn a_deleted_task_takes_its_plan_along() {
    let mut model = of_videos((120, 36));
    update(&mut model, deleted(101, "video-talk"));
    tick(&mut model, 0.0);
    assert_hides(&model, "video-talk");
    // An answer that was on its way does not bring back what has ended.
    let ended = processing(
        "clip",
        2,
        10,
        ProcessingStatus::Completed,
        100,
        [StepStatus::Completed; 4],
    );
    update(&mut model, deleted(102, "video-clip"));
    let change = PipelineChange {
        video_id: video_id("clip"),
        run_id: run(2),
        ..moved(10, 100, true)
    };
    let asked = reads(&update(&mut model, pipeline_event(103, change)));
    read(&mut model, asked[0], ended);
    assert_hides(&model, "video-clip");
}
