//! The mark of results with warnings: on every row that stands for one, at every size and in ASCII.

use onceover_tui::{
    glyphs::Glyphs,
    key::parse_keys,
    model::{
        Model,
        sort::{SortColumn, TaskSort},
    },
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{StageSummary, TaskItem, VideoPage};

use crate::{fixture::*, video_fixture::*};

fn warned(warnings: u64, stage: StageSummary) -> StageSummary {
    StageSummary { warnings, ..stage }
}

/// A pipeline under way whose first step has warnings; one that has ended, whose last step's stage has expired; a task with
/// rows in every state that can have a result.
fn items() -> Vec<TaskItem> {
    let mut running = under_way();
    running.tasks[0].warnings = 2;
    let mut talk = talk(running);
    talk.stages[0].warnings = 2;
    let mut clip = clip();
    let processing = clip.pipeline.as_mut().unwrap();
    processing.tasks[0].warnings = 3;
    processing.tasks[3].warnings = 1;
    clip.stages[0].warnings = 3;
    let alone = item(
        "podcast-112",
        400.0,
        &[
            ("ffmpeg.extract_audio", warned(150, stage(StageState::Success))),
            (
                "faster_whisper.transcribe_audio",
                StageSummary {
                    progress: Some(100.0),
                    forced: true,
                    ..warned(2, stage(StageState::Running))
                },
            ),
            (
                "wservice.generate_subtitle_files",
                warned(1, stage(StageState::Cancelled)),
            ),
        ],
    );
    vec![talk, clip, alone]
}

fn on_items(size: (u16, u16)) -> Model {
    let mut model = dashboard_of(items(), size);
    model.tree.sort = TaskSort::by(SortColumn::Created);
    model.tree.changed();
    tick(&mut model, 0.2);
    model
}

/// The page of videos, with the pipelines of the items.
fn on_videos(size: (u16, u16)) -> Model {
    let mut model = on_items(size);
    let mut page = registered();
    let mut pipelines = items().into_iter().filter_map(|item| item.pipeline);
    page.items[1].processing = pipelines.next();
    page.items[2].processing = pipelines.next();
    for key in parse_keys("v").unwrap() {
        let effects = update(&mut model, UiEvent::Key(key));
        answer_page(&mut model, &effects, &page);
    }
    tick(&mut model, 0.4);
    model
}

fn answer_page(model: &mut Model, effects: &[Effect], page: &VideoPage) {
    for effect in effects {
        if let Effect::Call { id, call: Call::Videos } = effect {
            let reply = Reply::Videos(Ok(page.clone()));
            update(model, UiEvent::Reply { id: *id, reply });
        }
    }
}

/// The lines that have something on them, without the first and the last.
fn rows(model: &Model) -> String {
    let lines = screen(model);
    let full = lines[1..lines.len() - 1]
        .iter()
        .filter(|line| !line.trim_matches(['│', '|', ' ']).is_empty());
    full.cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn every_row_of_the_tree_has_its_mark_at_each_size() {
    insta::assert_snapshot!(rows(&on_items((120, 24))), @r#"
  [1 Tasks] 2 Queues 3 Machine 4 Callbacks 5 Nodes 6 Videos 7 Events 8 Commands
 ┌ Tasks 3 ───────────────────────────────────────────────────────────────┐┌ video-talk ────────────────────────────────┐
 │  TASK / STAGE  CREATED↓                   STATE                    TIME││ ● running ⚠2   2 stages, 1 in flight       │
 │▸ ▾ video-talk  sample                     ● run 36 % ⚠2 ██▉·····  02:00││                                            │
 │    ├ ffmpeg.extract_audio                 ✔ done ⚠2                30 s││ pipeline  sample                           │
 │    ├ faster_whisper.transcribe_audio      ● run 42 %    ███▎····  01:30││ state     ● running 36 % ⚠2, 1 of 4 steps  │
 │    ├ wservice.generate_subtitle_files     … waits for transcribe_audio ││           ended                            │
 │    └ ffmpeg.extract_keyframes             … waiting                    ││ progress  ████████▋···············         │
 │  ▾ video-clip  sample ✖ transcribe_audio  ✖ failed ⚠4             01:00││ warnings  ⚠ 2 warnings                     │
 │    ├ ffmpeg.extract_audio                 ↺ reused ⚠3              30 s││ created   12:04:21                         │
 │    ├ faster_whisper.transcribe_audio      ✖ failed                 30 s││ updated   12:04:21                         │
 │    ├ wservice.generate_subtitle_files     ↷ skipped                    ││ run time  2 m 0 s                          │
 │    └ ffmpeg.extract_keyframes             ✔ done ⚠1               0.0 s││ files     /data/share/workflows/video-talk │
 │  ▾ podcast-112                            ● running ⚠+  ████████  02:30││                                            │
 │    ├ ffmpeg.extract_audio                 ✔ done ⚠+                30 s││ ✔ ffmpeg.extract_audio  done ⚠2            │
 │    ├ faster_whisper.transcribe_audio      ● run 100 % ⚠ ████████  01:30││ ● faster_whisper.transcribe_audio  running │
 │    └ wservice.generate_subtitle_files     ⊘ cancelled ⚠            30 s││     42 %                                   │
 │                                                                        ││ … wservice.generate_subtitle_files  waits  │
 │                                                                        ││     for transcribe_audio                   │
 │                                                                        ││ … ffmpeg.extract_keyframes  waiting        │
 └───────────────────────────────────────────────────────────────── 1/14 ─┘└────────────────────────────────────────────┘
"#);
    insta::assert_snapshot!(rows(&on_items((60, 16))), @r#"
▸ ▾ video-talk  sample                 ● run 36 % ⚠2  █▊···
    ├ ffmpeg.extract_audio             ✔ done ⚠2        30 s
    ├ faster_whisper.transcribe_audio  ● run 42 %     ██···
    ├ wservice.generate_subtitle_files … waits for transcr…
    └ ffmpeg.extract_keyframes         … waiting
  ▾ video-clip  ✖ transcribe_audio     ✖ failed ⚠4     01:00
    ├ ffmpeg.extract_audio             ↺ reused ⚠3      30 s
    ├ faster_whisper.transcribe_audio  ✖ failed         30 s
    ├ wservice.generate_subtitle_files ↷ skipped
    └ ffmpeg.extract_keyframes         ✔ done ⚠1       0.0 s
  ▾ podcast-112                        ● running ⚠+    02:30
    ├ ffmpeg.extract_audio             ✔ done ⚠+        30 s
    ├ faster_whisper.transcribe_audio  ● run 100 % ⚠2 █████
    └ wservice.generate_subtitle_files ⊘ cancelled ⚠1   30 s
"#);
    insta::assert_snapshot!(rows(&on_items((40, 16))), @r#"
▸ ▾ video-talk       ● run 36 % ⚠ █▊···
    ├ ffmpeg.…_audio ✔ done ⚠2      30 s
    ├ faster_…_audio ● run 42 %   ██···
    ├ wservic…_files … waits for trans…
    └ ffmpeg.…frames … waiting
  ▾ video-clip       ✖ failed ⚠4   01:00
    ├ ffmpeg.…_audio ↺ reused ⚠3    30 s
    ├ faster_…_audio ✖ failed       30 s
    ├ wservic…_files ↷ skipped
    └ ffmpeg.…frames ✔ done ⚠1     0.0 s
  ▾ podcast-112      ● running ⚠+  02:30
    ├ ffmpeg.…_audio ✔ done ⚠+      30 s
    ├ faster_…_audio ● run 100% ⚠ █████
    └ wservic…_files ⊘ cancell… ⚠   30 s
"#);
}

#[test]
fn every_row_of_the_tree_has_its_mark_in_ascii() {
    let mut model = on_items((60, 16));
    model.glyphs = Glyphs::Ascii;
    insta::assert_snapshot!(rows(&model), @r#"
> v video-talk  sample                 * run 36 % !2  #=---
    + ffmpeg.extract_audio             + done !2        30 s
    + faster_whisper.transcribe_audio  * run 42 %     ##---
    + wservice.generate_subtitle_files ~ waits for transcr~
    + ffmpeg.extract_keyframes         ~ waiting
  v video-clip  x transcribe_audio     x failed !4     01:00
    + ffmpeg.extract_audio             = reused !3      30 s
    + faster_whisper.transcribe_audio  x failed         30 s
    + wservice.generate_subtitle_files ) skipped
    + ffmpeg.extract_keyframes         + done !1       0.0 s
  v podcast-112                        * running !+    02:30
    + ffmpeg.extract_audio             + done !+        30 s
    + faster_whisper.transcribe_audio  * run 100 % !2 #####
    + wservice.generate_subtitle_files / cancelled !1   30 s
"#);
}

#[test]
fn the_page_of_videos_has_the_mark_on_rows_state_and_steps() {
    insta::assert_snapshot!(rows(&on_videos((120, 30))), @r#"
 1 Tasks 2 Queues 3 Machine 4 Callbacks 5 Nodes [6 Videos] 7 Events 8 Commands                            Videos › talk
┌ Videos 3 ────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│  STATE                   VIDEO                      TITLE                           LENGTH   FROM    PIPELINE        │
│  · never run             new                        아직 아무것도                   01:01    upload                  │
│▸ ● run 36 % ⚠ ███▌······ talk                       강의 7 · Talk                   01:01    path    sample          │
│  ✖ failed ⚠4             clip                       A clip                          01:01    url     sample          │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ talk · 강의 7 · Talk ────────────────────────────────────────────────────────────────────────────────────────────────┐
│ pipeline  sample                                                                                                     │
│ state     ● running 36 % ⚠2, 1 of 4 steps ended                                                                      │
│ progress  ████████▋···············                                                                                   │
│ warnings  ⚠ 2 warnings                                                                                               │
│ file      /srv/videos/talk.mp4                                                                                       │
│ holds     1 m 2 s, 1280x720, 25 frames/s, h264, aac, mov,mp4, 12.4 MB                                                │
│ since     12:04:21, registered by path                                                                               │
│ ✔ extract_audio  done ⚠2                                                                                             │
│ ● transcribe_audio  running 40 %                                                                                     │
│ … generate_subtitle_files  waits for transcribe_audio                                                                │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
"#);
    insta::assert_snapshot!(rows(&on_videos((60, 24))), @r#"
 Videos › talk
 Videos 3
  · never run             new                      01:01
▸ ● run 36 % ⚠ ███▌······ talk                     01:01
  ✖ failed ⚠4             clip                     01:01
────────────────────────────────────────────────────────────
 title     강의 7 · Talk
 pipeline  sample
 state     ● running 36 % ⚠2, 1 of 4 steps ended
 progress  ████████▋···············
 warnings  ⚠ 2 warnings
 file      /srv/videos/talk.mp4
 holds     1 m 2 s, 1280x720, 25 frames/s, h264, aac, mov,
           mp4, 12.4 MB
 since     12:04:21, registered by path
"#);
}

#[test]
fn the_detail_of_a_task_a_stage_and_a_step_without_one_has_the_mark() {
    for (keys, texts) in [
        ("<enter>", &["● running ⚠2", "ffmpeg.extract_audio  done ⚠2"][..]),
        ("j<enter>", &["✔ done ⚠2   attempt 1"][..]),
        ("j<enter><tab><tab>", &["✔ done ⚠2   attempt 1"][..]),
        (
            "jjjjj<enter>",
            &["ffmpeg.extract_audio  reused ⚠3", "ffmpeg.extract_keyframes  done ⚠1"][..],
        ),
        ("jjjjjjjjj<enter>", &["✔ done ⚠1"][..]),
    ] {
        let mut model = on_items((60, 30));
        press(&mut model, keys);
        assert_shows(&model, texts);
    }
}

#[test]
fn a_filter_for_warnings_finds_steps_without_a_stage() {
    let mut model = on_items((120, 24));
    press(&mut model, "/warned:yes<enter>");
    tick(&mut model, 0.6);
    assert_shows(&model, &["ffmpeg.extract_keyframes              ✔ done ⚠1"]);
    assert_hides(&model, "waits for");
}
