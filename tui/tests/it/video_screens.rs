//! What pipelines and videos look like, at the sizes people have.

use onceover_tui::update::{UiEvent, update};

use crate::{fixture::*, video_fixture::*};

/// The lines that have something on them, after these keys.
fn lines_after(keys: &str, size: (u16, u16)) -> String {
    let mut model = of_videos(size);
    press_videos(&mut model, keys);
    tick(&mut model, 0.2);
    let lines = screen(&model);
    let full = lines.iter().filter(|line| !line.trim_matches(['│', ' ']).is_empty());
    full.cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn the_tree_with_pipelines_at_four_sizes() {
    insta::assert_snapshot!(lines_after("", (120, 36)), @r#"
  onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
  [1 Tasks] 2 Queues 3 Machine 4 Callbacks 5 Nodes 6 Videos 7 Events 8 Commands
 ┌ Tasks 3 ───────────────────────────────────────────────────────────────┐┌ video-talk ────────────────────────────────┐
 │  TASK / STAGE                             STATE                    TIME││ ● running   2 stages, 1 in flight          │
 │▸ ▾ video-talk  sample                     ● run 36 %    ██▉·····  02:00││                                            │
 │    ├ ffmpeg.extract_audio                 ✔ done                   30 s││ pipeline  sample                           │
 │    ├ faster_whisper.transcribe_audio      ● run 42 %    ███▎····  01:30││ state     ● running 36 %, 1 of 4 steps     │
 │    ├ wservice.generate_subtitle_files     … waits for transcribe_audio ││           ended                            │
 │    └ ffmpeg.extract_keyframes             … waiting                    ││ progress  ████████▋···············         │
 │  ▾ video-clip  sample ✖ transcribe_audio  ✖ failed                01:00││ created   12:04:21                         │
 │    ├ ffmpeg.extract_audio                 ↺ reused                 30 s││ updated   12:04:21                         │
 │    ├ faster_whisper.transcribe_audio      ✖ failed                 30 s││ run time  2 m 0 s                          │
 │    ├ wservice.generate_subtitle_files     ↷ skipped                    ││ files     /data/share/workflows/video-talk │
 │    └ ffmpeg.extract_keyframes             ✔ done                  0.0 s││                                            │
 │  ▾ podcast-112                            ✔ done                   30 s││ ✔ ffmpeg.extract_audio  done               │
 │    └ ffmpeg.extract_audio                 ✔ done                   30 s││ ● faster_whisper.transcribe_audio  running │
 │                                                                        ││     42 %                                   │
 │                                                                        ││ … wservice.generate_subtitle_files  waits  │
 │                                                                        ││     for transcribe_audio                   │
 │                                                                        ││ … ffmpeg.extract_keyframes  waiting        │
 └───────────────────────────────────────────────────────────────── 1/12 ─┘└────────────────────────────────────────────┘
  / filter  r rerun  a active  e edit  x cancel  d delete  D delete video  space mark  c callbacks  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("", (200, 60)), @r#"
  onceover  ● live  127.0.0.1:8788  redis 0.3 ms via daemon │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done ⊘ 1 cancelled │ ↺ reuse 70 %  saved 6 h 12 m
  [1 Tasks] 2 Queues 3 Machine 4 Callbacks 5 Nodes 6 Videos 7 Events 8 Commands
 ┌ Tasks 3 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐┌ video-talk ──────────────────────────────────────────────────────────────┐
 │  TASK / STAGE                                                                               STATE                    TIME││ ● running   2 stages, 1 in flight                                        │
 │▸ ▾ video-talk  sample                                                                       ● run 36 %    ██▉·····  02:00││                                                                          │
 │    ├ ffmpeg.extract_audio                                                                   ✔ done                   30 s││ pipeline  sample                                                         │
 │    ├ faster_whisper.transcribe_audio                                                        ● run 42 %    ███▎····  01:30││ state     ● running 36 %, 1 of 4 steps ended                             │
 │    ├ wservice.generate_subtitle_files                                                       … waits for transcribe_audio ││ progress  ████████▋···············                                       │
 │    └ ffmpeg.extract_keyframes                                                               … waiting                    ││ created   12:04:21                                                       │
 │  ▾ video-clip  sample ✖ transcribe_audio                                                    ✖ failed                01:00││ updated   12:04:21                                                       │
 │    ├ ffmpeg.extract_audio                                                                   ↺ reused                 30 s││ run time  2 m 0 s                                                        │
 │    ├ faster_whisper.transcribe_audio                                                        ✖ failed                 30 s││ files     /data/share/workflows/video-talk                               │
 │    ├ wservice.generate_subtitle_files                                                       ↷ skipped                    ││                                                                          │
 │    └ ffmpeg.extract_keyframes                                                               ✔ done                  0.0 s││ ✔ ffmpeg.extract_audio  done                                             │
 │  ▾ podcast-112                                                                              ✔ done                   30 s││ ● faster_whisper.transcribe_audio  running 42 %                          │
 │    └ ffmpeg.extract_audio                                                                   ✔ done                   30 s││ … wservice.generate_subtitle_files  waits for transcribe_audio           │
 │                                                                                                                          ││ … ffmpeg.extract_keyframes  waiting                                      │
 └─────────────────────────────────────────────────────────────────────────────────────────────────────────────────── 1/12 ─┘└──────────────────────────────────────────────────────────────────────────┘
  / filter  r rerun  a active  e edit  x cancel  d delete  D delete video  space mark  c callbacks  s submit  p pending  y copy id  n nodes  v videos  L log  t timeline  W watch  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("", (60, 16)), @r#"
  onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 ▸ ▾ video-talk  sample                 ● run 36 %     █▊···
     ├ ffmpeg.extract_audio             ✔ done           30 s
     ├ faster_whisper.transcribe_audio  ● run 42 %     ██···
     ├ wservice.generate_subtitle_files … waits for transcr…
     └ ffmpeg.extract_keyframes         … waiting
   ▾ video-clip  ✖ transcribe_audio     ✖ failed        01:00
     ├ ffmpeg.extract_audio             ↺ reused         30 s
     ├ faster_whisper.transcribe_audio  ✖ failed         30 s
     ├ wservice.generate_subtitle_files ↷ skipped
     └ ffmpeg.extract_keyframes         ✔ done          0.0 s
   ▾ podcast-112                        ✔ done           30 s
     └ ffmpeg.extract_audio             ✔ done           30 s
  enter open  / filter  r rerun  a active  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("", (40, 12)), @r#"
  ● live 1 run 1 pend 1 fail ↺ 70 %
 ▸ ▾ video-talk       ● run 36 %   █▊···
     ├ ffmpeg.…_audio ✔ done         30 s
     ├ faster_…_audio ● run 42 %   ██···
     ├ wservic…_files … waits for trans…
     └ ffmpeg.…frames … waiting
   ▾ video-clip       ✖ failed      01:00
     ├ ffmpeg.…_audio ↺ reused       30 s
     ├ faster_…_audio ✖ failed       30 s
     ├ wservic…_files ↷ skipped
     └ ffmpeg.…frames ✔ done        0.0 s
  enter open  / filter  ? help  q quit
"#);
}

#[test]
fn the_page_of_videos_at_four_sizes() {
    insta::assert_snapshot!(lines_after("v", (120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine 4 Callbacks 5 Nodes [6 Videos] 7 Events 8 Commands                            Videos › talk
┌ Videos 3 ────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│  STATE                   VIDEO                      TITLE                           LENGTH   FROM    PIPELINE        │
│  · never run             new                        아직 아무것도                   01:01    upload                  │
│▸ ● run 36 %   ███▌······ talk                       강의 7 · Talk                   01:01    path    sample          │
│  ✖ failed                clip                       A clip                          01:01    url     sample          │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ talk · 강의 7 · Talk ────────────────────────────────────────────────────────────────────────────────────────────────┐
│ pipeline  sample                                                                                                     │
│ state     ● running 36 %, 1 of 4 steps ended                                                                         │
│ progress  ████████▋···············                                                                                   │
│ file      /srv/videos/talk.mp4                                                                                       │
│ holds     1 m 2 s, 1280x720, 25 frames/s, h264, aac, mov,mp4, 12.4 MB                                                │
│ since     12:04:21, registered by path                                                                               │
│ ✔ extract_audio  done                                                                                                │
│ ● transcribe_audio  running 40 %                                                                                     │
│ … generate_subtitle_files  waits for transcribe_audio                                                                │
│ … extract_keyframes  waiting                                                                                         │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 enter task  esc back  r rerun  a register  D delete video  space mark  y copy id  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("v", (200, 60)), @r#"
 onceover  ● live  127.0.0.1:8788  redis 0.3 ms via daemon │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done ⊘ 1 cancelled │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine 4 Callbacks 5 Nodes [6 Videos] 7 Events 8 Commands                                                                                                            Videos › talk
┌ Videos 3 ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│  STATE                   VIDEO                                                          TITLE                                                                       LENGTH   FROM    PIPELINE        │
│  · never run             new                                                            아직 아무것도                                                               01:01    upload                  │
│▸ ● run 36 %   ███▌······ talk                                                           강의 7 · Talk                                                               01:01    path    sample          │
│  ✖ failed                clip                                                           A clip                                                                      01:01    url     sample          │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ talk · 강의 7 · Talk ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│ pipeline  sample                                                                                                                                                                                     │
│ state     ● running 36 %, 1 of 4 steps ended                                                                                                                                                         │
│ progress  ████████▋···············                                                                                                                                                                   │
│ file      /srv/videos/talk.mp4                                                                                                                                                                       │
│ holds     1 m 2 s, 1280x720, 25 frames/s, h264, aac, mov,mp4, 12.4 MB                                                                                                                                │
│ since     12:04:21, registered by path                                                                                                                                                               │
│ ✔ extract_audio  done                                                                                                                                                                                │
│ ● transcribe_audio  running 40 %                                                                                                                                                                     │
│ … generate_subtitle_files  waits for transcribe_audio                                                                                                                                                │
│ … extract_keyframes  waiting                                                                                                                                                                         │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 enter task  esc back  r rerun  a register  D delete video  space mark  y copy id  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("v", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 Videos 3
  · never run             new                      01:01
▸ ● run 36 %   ███▌······ talk                     01:01
  ✖ failed                clip                     01:01
────────────────────────────────────────────────────────────
 title     강의 7 · Talk
 pipeline  sample
 state     ● running 36 %, 1 of 4 steps ended
 progress  ████████▋···············
 file      /srv/videos/talk.mp4
 holds     1 m 2 s, 1280x720, 25 frames/s, h264, aac, mov,
 enter task  esc back  r rerun  a register  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("v", (40, 12)), @r#"
 ● live 1 run 1 pend 1 fail ↺ 70 %
 Videos 3
  · never run  new             01:01
▸ ● run 36 %   talk            01:01
  ✖ failed     clip            01:01
────────────────────────────────────────
 title     강의 7 · Talk
 pipeline  sample
 state     ● running 36 %, 1 of 4 steps
           ended
 enter task  esc back  ? help  q quit
"#);
}

#[test]
fn the_questions_about_videos() {
    insta::assert_snapshot!(lines_after("r<enter>", (120, 36)), @r#"
  onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
  [1 Tasks] 2 Queues 3 Machine 4 Callbacks 5 Nodes 6 Videos 7 Events 8 Commands
 ┌ Tasks 3 ───────────────────────────────────────────────────────────────┐┌ video-talk ────────────────────────────────┐
 │  TASK / STAGE                             STATE                    TIME││ ● running   2 stages, 1 in flight          │
 │▸ ▾ video-talk  sample                     ● run 36 %    ██▉·····  02:00││                                            │
 │    ├ ffmpeg.extract_audio                 ✔ done                   30 s││ pipeline  sample                           │
 │    ├ faster_whisper.transcribe_audio      ● run 42 %    ███▎····  01:30││ state     ● running 36 %, 1 of 4 steps     │
 │    ├ wservice.generate_subtitle_files     … waits for transcribe_audio ││           ended                            │
 │    └ ffmpeg.extract_keyframes             … waiting                    ││ progress  ████████▋···············         │
 │  ▾ video-clip  sample ✖ transcribe_audio  ✖ failed                01:00││ created   12:04:21                         │
 │    ├ ffmpeg.extract_audio                 ↺ reused                 30 s││ updated   12:04:21                         │
 │    ├ faster_whisper.transcribe_audio      ✖ failed                 30 s││ run time  2 m 0 s                          │
 │    ├ wservice.generate_subtitle_files     ↷ skipped                    ││ files     /data/share/workflows/video-talk │
 │    └ ffmpeg.extract_┌ Start a pipeline of 1 video? ────────────────────────────────────────────┐                     │
 │  ▾ podcast-112      │ talk                                                                     │  done               │
 │    └ ffmpeg.extract_│   under way: sample ● running 36 %; it will be refused (restart ends it) │cribe_audio  running │
 │                     │ pipeline  ‹ sample › ↑ ↓  Sample, 4 steps                                │                     │
 │                     │                                                                          │btitle_files  waits  │
 │                     │ It runs in the background under the task video-<id>; a step that is done │io                   │
 │                     │ already is reused.                                                       │ames  waiting        │
 │                     │                            Cancel     [ Start ]                          │                     │
 │                     └──────────────────────────────────────────────────────────────────────────┘                     │
 └───────────────────────────────────────────────────────────────── 1/12 ─┘└────────────────────────────────────────────┘
  / filter  r rerun  a active  e edit  x cancel  d delete  D delete video  space mark  c callbacks  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("rr<enter>", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
┌ Restart 1 video? ────────────────────────────────────────┐
│ talk                                                     │
│   ends sample at 36 %; running: transcribe_audio (40 %); │
│   not begun: generate_subtitle_files, extract_keyframes  │
│ pipeline  ‹ sample › ↑ ↓  Sample, 4 steps                │
│ What is under way is ended first, its processes too;     │
│ what it wrote so far is not used.                        │
│ Every step runs again, whatever is stored; a former      │
│ result stands until the new run of its step succeeds.    │
│                 [ Cancel ]     Restart                   │
└──────────────────────────────────────────────────────────┘
 enter open  / filter  r rerun  a active  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("jjrd<enter>", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
┌ Reprocess 1 video? ──────────────────────────────────────┐
│ talk                                                     │
│   again: transcribe_audio, generate_subtitle_files       │
│   kept: extract_audio, extract_keyframes                 │
│   ends sample at 36 %; running: transcribe_audio (40 %); │
│   not begun: generate_subtitle_files, extract_keyframes  │
│ What is under way is ended first, its processes too;     │
│ what it wrote so far is not used.                        │
│ A former result stands until the new run of its step     │
│ succeeds.                                                │
│                [ Cancel ]     Reprocess                  │
└──────────────────────────────────────────────────────────┘
 enter open  / filter  r rerun  a active  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("vD<down>", (60, 16)), @r#"
┌ Delete 1 video? ─────────────────────────────────────────┐
│ talk                                                     │
│   ends sample at 36 %; running: transcribe_audio (40 %); │
│   not begun: generate_subtitle_files, extract_keyframes  │
│   the file stays: /srv/videos/talk.mp4                   │
│ What is under way is ended first, its processes too;     │
│ what it wrote so far is not used.                        │
│ Removed for good: the record of the video and of its     │
│ pipeline.                                                │
│ Also removed: the Redis records of every stage of its    │
│ lines 1 to 10 of 12 · pgdn pgup                          │
│ results  ‹ delete too › ↑ ↓  task video-talk (2 stages): │
│ records, files, logs                                     │
│                 [ Cancel ]     Delete                    │
└──────────────────────────────────────────────────────────┘
"#);
    insta::assert_snapshot!(lines_after("rr<enter>", (40, 12)), @r#"
┌ Restart 1 video? ────────────────────┐
│ talk                                 │
│   ends sample at 36 %; running:      │
│   transcribe_audio (40 %); not       │
│   begun: generate_subtitle_files,    │
│   extract_keyframes                  │
│ lines 1 to 6 of 12 · pgdn pgup       │
│ pipeline  ‹ sample › ↑ ↓  Sample, 4  │
│ steps                                │
│       [ Cancel ]     Restart         │
└──────────────────────────────────────┘
"#);
}

#[test]
fn the_form_that_registers_at_three_sizes() {
    insta::assert_snapshot!(lines_after("va/srv/videos/강의.mp4<tab>", (120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine 4 Callbacks 5 Nodes [6 Videos] 7 Events 8 Commands                        Videos › register
┌ Register a video ────────────────────────────────────────────────────────────────────────────────────────────────────┐
│  path or URL *   /srv/videos/강의.mp4                                                                                │
│▸ video id        a new one                                                                                           │
│  title           the file's name                                                                                     │
│    Register                                                                                                          │
│──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────│
│ video id  1 to 122 of A-Z a-z 0-9 . _ -                                                                              │
│ It is processed under the task video-<id>. Left out: a new id.                                                       │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 ctrl-s submit  esc back  ↓ next  f1 help  ctrl-c quit
"#);
    insta::assert_snapshot!(lines_after("va<c-s>", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 Register a video
▸ path or URL *   needed
    ✖ a path or a URL is needed
  video id        a new one
  title           the file's name
    Register
────────────────────────────────────────────────────────────
 path or URL
 A file on the daemon's machine, below its share/workflows
 or a media root; or a URL, http(s) or of the object store
 (s3, minio), which is fetched before the answer.
 ctrl-s submit  esc back  ↓ next  f1 help  ctrl-c quit
"#);
    insta::assert_snapshot!(lines_after("va<tab><tab><tab>", (40, 12)), @r#"
 ● live 1 run 1 pend 1 fail ↺ 70 %
 Register a video
  path or URL *   needed
  video id        a new one
  title           the file's name
▸ [ Register ]
────────────────────────────────────────
 Enter sends the request; so does ctrl-
 s from every field.
 ctrl-s submit  f1 help  ctrl-c quit
"#);
}

#[test]
fn at_every_size_a_video_can_be_told_and_help_is_there() {
    for (columns, rows) in [(40, 12), (60, 16), (80, 24), (120, 36), (200, 60)] {
        let mut model = of_videos((columns, rows));
        press_videos(&mut model, "v");
        assert_shows(&model, &["● run 36 %", "talk", "? help", "q quit"]);
        update(&mut model, UiEvent::Resize(columns, rows));
        press_videos(&mut model, "<esc>");
        assert_shows(&model, &["● run 36 %", "waits for tr"]);
    }
}
