//! What is on the screen, in text and where it matters in style.

use onceover_tui::{
    actions::{format_keys, list_actions, list_keys},
    glyphs::Glyphs,
    model::{MissingPart, Model, Page},
    theme::Theme,
    update::{UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::StageSummary;
use ratatui::style::Modifier;

use crate::{fixture::*, video_fixture::press_videos};

#[test]
fn wide_shows_tree_and_detail() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    tick(&mut model, 0.2);
    insta::assert_snapshot!(screen(&model).join("\n"), @r#"
  onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
  [1 Tasks] 2 Queues 3 Machine 4 Callbacks 5 Nodes 6 Videos 7 Events 8 Commands  lecture-07 › faster…er.transcribe_audio
 ┌ Tasks 5 ───────────────────────────────────────────────────────────────┐┌ lecture-07 › faster_w…per.transcribe_audio ┐
 │  TASK / STAGE                         STATE          TIME TRY REUSE  CB││ ● running   attempt 2                      │
 │  ▾ lecture-07                         ● running     02:00       ↺ 2    ││ ███████████▏······ 62 %   eta 55 s         │
 │    ├ ffmpeg.extract_audio             ✔ done         30 s       ↺ 2    ││ [Overview] Input  Output  Reuse  Log       │
 │▸   ├ faster_whisper.transcribe_audio  ● run 62 %    01:30  #2          ││                                            │
 │    └ wservice.generate_subtitle_files ◌ pending                        ││ runner    builtin   queue gpu              │
 │  ▾ podcast-112                        ◌ pending                        ││ queued    12:04:21, waited 10 s            │
 │    └ ffmpeg.extract_audio             ◌ pending                        ││ started   12:04:31                         │
 │  ▾ clip_03                            ✖ failed       30 s              ││ message   segment 42                       │
 │    └ paddleocr.detect_subtitle_area   ✖ failed       30 s            →✖││                                            │
 │  ▾ trailer-v2                         ✔ done         30 s       ↺ 5    ││ Why did it run?  miss · absent: there was  │
 │    └ ffmpeg.extract_audio             ✔ done         30 s       ↺ 5    ││ no earlier result under this task.         │
 │  ▾ old                                ⊘ cancelled    30 s              ││                                            │
 │    └ ffmpeg.extract_audio             ⊘ cancelled    30 s              ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 │                                                                        ││                                            │
 └───────────────────────────────────────────────────────────────── 3/12 ─┘└────────────────────────────────────────────┘
  / filter  r rerun  a active  e edit  x cancel  d delete  space mark  c callbacks  s submit  p pending  ? help  q quit
"#);
}

#[test]
fn small_shows_one_pane_and_enter_opens_the_other() {
    let mut model = dashboard((60, 16));
    press(&mut model, "jj");
    insta::assert_snapshot!(screen(&model).join("\n"), @r#"
  onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
   ▾ lecture-07                 ● running     02:00   ↺ 2
     ├ ffmpeg.extract_audio     ✔ done         30 s   ↺ 2
 ▸   ├ faster_whisp…cribe_audio ● run 62 %   ███··
     └ wservice.gen…title_files ◌ pending
   ▾ podcast-112                ◌ pending
     └ ffmpeg.extract_audio     ◌ pending
   ▾ clip_03                    ✖ failed       30 s
     └ paddleocr.de…btitle_area ✖ failed       30 s        →✖
   ▾ trailer-v2                 ✔ done         30 s   ↺ 5
     └ ffmpeg.extract_audio     ✔ done         30 s   ↺ 5
   ▾ old                        ⊘ cancelled    30 s
     └ ffmpeg.extract_audio     ⊘ cancelled    30 s


  enter open  / filter  r rerun  a active  ? help  q quit
"#);
    press(&mut model, "<enter>");
    assert_shows(
        &model,
        &["lecture-07 › faster_whisper.transcribe_audio", "62 %", "Overview"],
    );
    press(&mut model, "<esc>");
    assert_shows(&model, &["podcast-112"]);
}

#[test]
fn delete_says_what_goes() {
    let mut model = dashboard((120, 36));
    press(&mut model, "C<home> j d");
    insta::assert_snapshot!(screen(&model)[12..24].join("\n"), @r#"
│                     ┌ Delete 2 tasks? ─────────────────────────────────────────────────────────┐                     │
│                     │ clip_03     1 stage                                                      │                     │
│                     │ lecture-07  3 stages · 1 running, 1 pending, will be ended               │                     │
│                     │                                                                          │                     │
│                     │ Removed for good: the Redis records of every stage, and all files and    │                     │
│                     │ logs below /data/share/workflows/<task>.                                 │                     │
│                     │ Inputs outside the task folder stay.                                     │                     │
│                     │ Running processes are ended first.                                       │                     │
│                     │                                                                          │                     │
│                     │                         [ Cancel ]     Delete                            │                     │
│                     └──────────────────────────────────────────────────────────────────────────┘                     │
│                                                                        ││                                            │
"#);
    let mut model = dashboard((60, 16));
    press(&mut model, "d");
    assert_shows(&model, &["Delete 1 task?", "[ Cancel ]"]);
}

#[test]
fn a_lost_connection_dims_every_row() {
    let mut model = dashboard((60, 16));
    update(&mut model, lost(MissingPart::Daemon));
    tick(&mut model, 3.0);
    insta::assert_snapshot!(screen(&model)[..3].join("\n"), @r#"
  ✖ no answer from 127.0.0.1:8788 · trying now · data 3 s old
 ▸ ▾ lecture-07                 ● running     02:00   ↺ 2
     ├ ffmpeg.extract_audio     ✔ done         30 s   ↺ 2
"#);
    let buffer = draw(&model);
    for y in 1..13 {
        assert!(buffer[(4, y)].style().add_modifier.contains(Modifier::DIM), "row {y}");
    }
}

/// The page, with something on it.
pub fn on(page: Page, size: (u16, u16)) -> Model {
    let mut model = dashboard(size);
    press_videos(
        &mut model,
        match page {
            Page::Tasks => "",
            Page::Callbacks => "ca",
            Page::Nodes => "n",
            Page::Form => "n<enter>",
            Page::Videos => "v",
            Page::Register => "va",
            Page::Log => "jL",
            Page::Timeline => "t",
            Page::Compare => "j=",
            Page::Queues => "Q",
            Page::Machine => "M",
            Page::Workers => "B",
            Page::Events => "X",
            Page::Commands => "H",
            Page::Json => "j<tab><enter><enter>",
            Page::Preview => "i",
        },
    );
    // On a screen without room for the detail there is no tree of JSON to open.
    let has_room = page != Page::Json || size != (1, 1);
    assert!(model.page == page || !has_room, "{:?} and not {page:?}", model.page);
    model
}

#[test]
fn help_and_footer_come_from_the_registry() {
    for page in Page::ALL {
        let mut model = on(page, (100, 140));
        press(&mut model, "<f1>");
        let lines = screen(&model);
        for spec in list_actions(page) {
            let keys = format_keys(spec, page, &model.bindings);
            let words: String = spec.help.chars().take(30).collect();
            assert!(
                lines
                    .iter()
                    .any(|line| line.contains(&keys) && line.contains(words.trim_end())),
                "{} is not in the help of {page:?}",
                spec.name
            );
        }
        let model = on(page, (200, 30));
        let footer = screen(&model).pop().unwrap();
        for spec in
            list_actions(page).filter(|spec| spec.footer.is_some() && (spec.applies)(&model) && spec.name != "open")
        {
            assert!(
                footer.contains(&format!(
                    "{} {}",
                    list_keys(spec, page, &model.bindings).next().unwrap(),
                    spec.label
                )),
                "{} on {page:?}: {footer}",
                spec.name
            );
        }
    }
}

#[test]
fn help_and_quit_are_on_every_footer() {
    for page in Page::ALL {
        // The keys of a form are long: it wants 40 columns.
        let least = if page.is_typed() { 40 } else { 20 };
        for columns in [least, 40, 60, 80, 100, 200] {
            let model = on(page, (columns, 16));
            let footer = screen(&model).pop().unwrap();
            assert!(
                footer.contains(" help") && footer.contains(" quit"),
                "{columns} {page:?}: {footer}"
            );
        }
    }
}

#[test]
fn states_can_be_told_apart_without_colour() {
    let mut model = dashboard((120, 36));
    model.theme = Theme::mono();
    press(&mut model, "E");
    assert_shows(
        &model,
        &[
            "● run 62 %",
            "◌ pending",
            "✔ done",
            "✖ failed",
            "⊘ cancelled",
            "↺ 5",
            "#2",
        ],
    );
    let buffer = draw(&model);
    for cell in buffer.content() {
        let style = cell.style();
        for colour in [style.fg, style.bg].into_iter().flatten() {
            assert_eq!(colour, ratatui::style::Color::Reset);
        }
    }
    let y = 4 + model.tree.index as u16;
    assert!(
        buffer[(5, y)].style().add_modifier.contains(Modifier::REVERSED),
        "the cursor's row"
    );
}

#[test]
fn nothing_from_outside_reaches_the_terminal_as_control() {
    let nasty = "\u{1b}]0;pwned\u{7}\u{1b}[2J\r\n\u{0}\u{9b}31m\u{202e}txt\u{200d}";
    let failed = StageSummary {
        error: Some(nasty.into()),
        message: Some(nasty.into()),
        ..stage(StageState::Failed)
    };
    let mut model = dashboard_of(vec![item("t", 1.0, &[("a.b", failed)])], (120, 36));
    press(&mut model, "j");
    tick(&mut model, 0.0);
    tick(&mut model, 0.2);
    let id = model.detail.log_request.unwrap();
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: onceover_tui::update::Reply::Log(Ok(log_page(&[nasty], 1))),
        },
    );
    let id = model.detail.request.unwrap();
    update(
        &mut model,
        UiEvent::Reply {
            id,
            reply: onceover_tui::update::Reply::Stage(Err(onceover_tui::update::Refusal {
                text: nasty.into(),
                ..Default::default()
            })),
        },
    );
    for keys in ["", "<tab>", "<tab>", "<tab>", "<tab>", "d", "<esc>/\u{1b}\u{202e}"] {
        press(&mut model, keys);
        for cell in draw(&model).content() {
            let bad = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || c == '\u{200d}';
            assert!(!cell.symbol().contains(bad), "{:?} after {keys:?}", cell.symbol());
        }
    }
    press(&mut model, "<esc><esc>");
    assert_shows(&model, &["␛]0;pwned␇"]);
}

#[test]
fn wide_glyphs_keep_the_columns_in_line() {
    let line = "자막 생성 중 中文字幕 ﾃｽﾄ 👨\u{200d}👩\u{200d}👧 é";
    let mut model = dashboard((120, 36));
    press(&mut model, "jjG");
    press(&mut model, "k");
    tick(&mut model, 0.0);
    tick(&mut model, 0.2);
    press(&mut model, "<s-tab>");
    if let Some(id) = model.detail.log_request {
        update(
            &mut model,
            UiEvent::Reply {
                id,
                reply: onceover_tui::update::Reply::Log(Ok(log_page(&[line; 50], 1))),
            },
        );
    }
    for columns in 60..130 {
        update(&mut model, UiEvent::Resize(columns, 36));
        tick(&mut model, 0.3);
        for line in screen(&model) {
            assert!(onceover_tui::view::text::width(&line) <= columns, "{columns}: {line}");
            if line.starts_with('│') && columns >= 100 {
                assert!(line.ends_with('│'), "{columns}: {line}");
                assert_eq!(onceover_tui::view::text::width(&line), columns);
            }
        }
    }
}

#[test]
fn the_page_of_callbacks_at_three_sizes() {
    let page = |size| lines_after("<home>jjjjjjcj", size);
    insta::assert_snapshot!(page((120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine [4 Callbacks] 5 Nodes 6 Videos 7 Events 8 Commands
┌ Callbacks of clip_03 · 3 ────────────────────────────────────────────────────────────────────────────────────────────┐
│  STATE       TRIES WHERE                                            STAGE                        LAST ANSWER         │
│  ◌ retrying  2     http://n8n.local/webhook/new                     paddleocr.detect_subtitle_a… HTTP 503            │
│▸ ✖ given up  5     http://n8n.local/webhook/clip/오래된             paddleocr.detect_subtitle_a… HTTP 503            │
│  ✔ sent      1     http://n8n.local/webhook/clip                    paddleocr.detect_subtitle_a… HTTP 200            │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ clip_03 › paddleocr.detect_subtitle_area ────────────────────────────────────────────────────────────────────────────┐
│ where     http://n8n.local/webhook/clip/오래된                                                                       │
│ state     ✖ given up after 5 tries, last 12:05:56: answered 503                                                      │
│ reports   failed, run 0190c0de-0000-7000-8000-000000000001                                                           │
│ asked     12:05:41                                                                                                   │
│ id        msg_2                                                                                                      │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 esc back  r redeliver  a all tasks  space mark  y copy id  ? help  q quit
"#);
    insta::assert_snapshot!(page((60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 Callbacks of clip_03 · 3
  ◌ retrying  2     http://n8n.local/webhook/new
▸ ✖ given up  5     http://n8n.local/webhook/clip/오래된
  ✔ sent      1     http://n8n.local/webhook/clip
────────────────────────────────────────────────────────────
 where     http://n8n.local/webhook/clip/오래된
 state     ✖ given up after 5 tries, last 12:05:56:
           answered 503
 stage     clip_03 › paddleocr.detect_subtitle_area
 reports   failed, run 0190c0de-0000-7000-8000-000000000001
 asked     12:05:41
 esc back  r redeliver  a all tasks  ? help  q quit
"#);
    insta::assert_snapshot!(page((40, 12)), @r#"
 ● live 1 run 1 pend 1 fail ↺ 70 %
 Callbacks of clip_03 · 3
  ◌ retrying  2     http://n8n.local/w…
▸ ✖ given up  5     http://n8n.local/w…
  ✔ sent      1     http://n8n.local/w…
────────────────────────────────────────
 where     http://n8n.local/webhook/
           clip/오래된
 state     ✖ given up after 5 tries,
           last 12:05:56: answered 503
 esc back  r redeliver  ? help  q quit
"#);
}

/// The lines of a page that have something on them, after these keys.
fn lines_after(keys: &str, size: (u16, u16)) -> String {
    let mut model = dashboard(size);
    press_answered(&mut model, keys);
    let lines = screen(&model);
    let full = lines.iter().filter(|line| !line.trim_matches(['│', ' ']).is_empty());
    full.cloned().collect::<Vec<_>>().join("\n")
}

#[test]
fn the_page_of_nodes_at_three_sizes() {
    insta::assert_snapshot!(lines_after("n<down>", (120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine 4 Callbacks [5 Nodes] 6 Videos 7 Events 8 Commands  Nodes › faster_whisper.transcribe_audio
┌ Nodes 2 · 1 ready ─────────────────────────────────────────┐┌ faster_whisper.transcribe_audio ───────────────────────┐
│  READY             NODE                                    ││ 음성을 글로 · Transcribe                               │
│  ✔ ready           ffmpeg.split_audio_segments             ││ Writes down what is said.                              │
│▸ ✖ 1 missing       faster_whisper.transcribe_audio         ││                                                        │
│                                                            ││ missing   ✖ the Python environment of faster_whisper   │
│                                                            ││ get it    onceoverd nodes install faster_whisper       │
│                                                            ││ runs as   python, queue gpu, at most 30 m 0 s          │
│                                                            ││ reuse     auto: any result that is not empty           │
│                                                            ││ Parameters                                             │
│                                                            ││ audio_path  path, required                             │
│                                                            ││     The sound file.                                    │
│                                                            ││ Output                                                 │
└────────────────────────────────────────────────────────────┘└────────────────────────────────────────────────────────┘
 enter submit  esc back  / filter  y copy id  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("n<down>", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 Nodes 2 · 1 ready
  ✔ ready           ffmpeg.split_audio_segments
▸ ✖ 1 missing       faster_whisper.transcribe_audio
────────────────────────────────────────────────────────────
 음성을 글로 · Transcribe
 Writes down what is said.
 missing   ✖ the Python environment of faster_whisper
 get it    onceoverd nodes install faster_whisper
 runs as   python, queue gpu, at most 30 m 0 s
 enter submit  esc back  / filter  ? help  q quit
"#);
    insta::assert_snapshot!(lines_after("s음성", (40, 12)), @r#"
 ● live 1 run 1 pend 1 fail ↺ 70 %
 Nodes 1 of 2 · 1 ready · 음성
▸ ✖  faster_whisper.transcribe_audio
────────────────────────────────────────
 음성을 글로 · Transcribe
 Writes down what is said.
 missing   ✖ the Python environment of
 / 음성   1 node · ↑ ↓ choose · enter s…
"#);
}

#[test]
fn the_submit_form_at_three_sizes() {
    insta::assert_snapshot!(lines_after("<home>ssplit<enter><tab><right>", (120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
 1 Tasks 2 Queues 3 Machine 4 Callbacks [5 Nodes] 6 Videos 7 Events 8 Commands  Nodes › ffmpeg.spli…o_segments › submit
┌ Submit ffmpeg.split_audio_segments · Split audio by subtitle ────────────────────────────────────────────────────────┐
│ Cuts one sound file per subtitle cue.                                                                                │
│  task              lecture-07                                                                                        │
│  audio_path *      from ffmpeg.extract_audio › audio_path                                                            │
│▸ output_format     ‹ wav ›                                                                                           │
│  sample_rate       16000 (default)                                                                                   │
│  group_by_speaker  false (default)                                                                                   │
│  keep              left out                                                                                          │
│  reuse             as the node has it: auto                                                                          │
│  callback          no callback                                                                                       │
│    Submit                                                                                                            │
│─────────────────────────────────────────────────────────────────────────────────────────────────────────────── 3/9 ──│
│ output_format  string, default wav                                                                                   │
│ Format of the pieces.                                                                                                │
│ One of wav, flac, mp3.                                                                                               │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
 ctrl-s submit  esc back  ↓ next  → value  ctrl-e $EDITOR  f1 help  ctrl-c quit
"#);
    insta::assert_snapshot!(lines_after("<home>n<down><enter>/v/강의.wav<tab>", (60, 16)), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
 Submit faster_whisper.transcribe_audio · 음성을 글로 · Tra…
 … reading the stored request
 missing   ✖ the Python environment of faster_whisper
 get it    onceoverd nodes install faster_whisper
  task          lecture-07
  audio_path *  /v/강의.wav
▸ reuse         ‹ as the node has it: auto ›
  callback      no callback
    Submit
───────────────────────────────────────────────────── 3/5 ──
 reuse  auto, never or strict
 Whether a finished result of this task is reused.
 ctrl-s submit  esc back  ↓ next  f1 help  ctrl-c quit
"#);
    insta::assert_snapshot!(lines_after("<home>ssplit<enter><tab><tab>44100<tab>", (40, 12)), @r#"
 ● live 1 run 1 pend 1 fail ↺ 70 %
 Submit ffmpeg.split_audio_segments · S…
 Cuts one sound file per subtitle cue.
  output_format     wav (default)
  sample_rate       44100
▸ group_by_speaker  ‹ false (default) ›
  keep              left out
───────────────────────────────── 5/9 ──
 group_by_speaker  boolean, default
 false
 One folder per speaker.
 ctrl-s submit  f1 help  ctrl-c quit
"#);
}

#[test]
fn every_page_is_drawn_in_ascii_too_with_all_of_it_in_its_place() {
    for size in [(120, 36), (60, 16), (10, 3)] {
        for keys in ["", "j", "jj", "jj]", "?", "c", "n", "s", "v", "p", "d", "x", "/"] {
            let mut model = dashboard(size);
            press_answered(&mut model, keys);
            let usual = screen(&model);
            model.glyphs = Glyphs::Ascii;
            let plain = screen(&model);
            assert!(plain.iter().all(|line| line.is_ascii()), "{keys}: {plain:#?}");
            let moved: Vec<_> = usual.iter().map(|line| Glyphs::Ascii.shown(line)).collect();
            assert_eq!(moved, plain, "{keys}");
        }
    }
}
