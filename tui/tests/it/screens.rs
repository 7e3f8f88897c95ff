//! What is on the screen, in text and where it matters in style.

use onceover_common::StageState;
use onceover_common::wire::StageSummary;
use onceover_tui::{
    actions::{keys_text, on_page},
    model::{Missing, Model, Page},
    theme::Theme,
    update::{Event, update},
};
use ratatui::style::Modifier;

use crate::fixture::*;

#[test]
fn wide_shows_tree_and_detail() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    tick(&mut model, 0.2);
    insta::assert_snapshot!(screen(&model).join("\n"), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
┌ Tasks 5 ───────────────────────────────────────────────────────────────┐┌ lecture-07 › faster_whisper.transcribe_aud…┐
│  TASK / STAGE              STATE                     TIME TRY REUSE  CB││ ● running   attempt 2                      │
│  ▾ lecture-07              ● running    ████▉···    02:00       ↺ 2    ││ ███████████▏······ 62 %   eta 55 s         │
│    ├ ffmpeg.extract_audio  ✔ done                   00:30       ↺ 2    ││ [Overview] Input  Output  Reuse  Log       │
│▸   ├ faster_whisper.trans… ● run 62 %   ████▉···    01:30  #2          ││                                            │
│    └ wservice.generate_su… ◌ pending                                   ││ runner    builtin   queue gpu              │
│  ▾ clip_03                 ✖ failed                 00:30              ││ queued    12:04:21, waited 10 s            │
│    └ paddleocr.detect_sub… ✖ failed                 00:30            →✖││ started   12:04:31                         │
│  ▾ podcast-112             ◌ pending                                   ││ says      segment 42                       │
│    └ ffmpeg.extract_audio  ◌ pending                                   ││                                            │
│  ▾ trailer-v2              ✔ done                   00:30       ↺ 5    ││ Why did it run?  miss · absent: there was  │
│    └ ffmpeg.extract_audio  ✔ done                   00:30       ↺ 5    ││ no earlier result under this task.         │
│  ▾ old                     ⊘ cancelled              00:30              ││                                            │
│    └ ffmpeg.extract_audio  ⊘ cancelled              00:30              ││                                            │
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
│                                                                        ││                                            │
└───────────────────────────────────────────────────────────────── 3/12 ─┘└────────────────────────────────────────────┘
 / filter  r resubmit  R force  x cancel  d delete  space mark  c callbacks  p pending  y copy id  ? help  q quit
"#);
}

#[test]
fn small_shows_one_pane_and_enter_opens_the_other() {
    let mut model = dashboard((60, 16));
    press(&mut model, "jj");
    insta::assert_snapshot!(screen(&model).join("\n"), @r#"
 onceover ● live 1 run 1 pend 1 fail ↺ 70 % saved 6 h 12 m
  ▾ lecture-07               ● running       02:00   ↺ 2
    ├ ffmpeg.extract_audio   ✔ done          00:30   ↺ 2
▸   ├ faster_whisper.transc… ● run 62 %   ████▎··
    └ wservice.generate_sub… ◌ pending
  ▾ clip_03                  ✖ failed        00:30
    └ paddleocr.detect_subt… ✖ failed        00:30        →✖
  ▾ podcast-112              ◌ pending
    └ ffmpeg.extract_audio   ◌ pending
  ▾ trailer-v2               ✔ done          00:30   ↺ 5
    └ ffmpeg.extract_audio   ✔ done          00:30   ↺ 5
  ▾ old                      ⊘ cancelled     00:30
    └ ffmpeg.extract_audio   ⊘ cancelled     00:30


 enter open  / filter  r resubmit  R force  ? help  q quit
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
    press(&mut model, "C<home>  d");
    insta::assert_snapshot!(screen(&model)[12..24].join("\n"), @r#"
│                     ┌ Delete 2 tasks? ─────────────────────────────────────────────────────────┐                     │
│                     │ clip_03     1 stage                                                      │                     │
│                     │ lecture-07  3 stages · 1 running, 1 pending, will be ended               │                     │
│                     │                                                                          │                     │
│                     │ Gone for good: the Redis records of every stage, and all files and logs  │                     │
│                     │ below /data/share/workflows/<task>.                                      │                     │
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
    update(&mut model, lost(Missing::Daemon));
    tick(&mut model, 3.0);
    insta::assert_snapshot!(screen(&model)[..3].join("\n"), @r#"
 onceover  ✖ no answer from 127.0.0.1:8788 for 3 s · trying…
▸ ▾ lecture-07               ● running       02:00   ↺ 2
    ├ ffmpeg.extract_audio   ✔ done          00:30   ↺ 2
"#);
    let buffer = draw(&model);
    for y in 1..13 {
        assert!(buffer[(4, y)].style().add_modifier.contains(Modifier::DIM), "row {y}");
    }
}

/// The page, with something on it.
fn on(page: Page, size: (u16, u16)) -> Model {
    let mut model = dashboard(size);
    press_answered(
        &mut model,
        match page {
            Page::Tasks => "",
            Page::Callbacks => "ca",
        },
    );
    assert_eq!(model.page, page);
    model
}

#[test]
fn help_and_footer_come_from_the_registry() {
    for page in Page::ALL {
        let mut model = on(page, (100, 70));
        press(&mut model, "<f1>");
        let lines = screen(&model);
        for spec in on_page(page) {
            let keys = keys_text(spec);
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
        for spec in on_page(page).filter(|spec| spec.footer.is_some() && (spec.applies)(&model) && spec.name != "open")
        {
            assert!(
                footer.contains(&format!("{} {}", spec.keys[0], spec.label)),
                "{} on {page:?}: {footer}",
                spec.name
            );
        }
    }
}

#[test]
fn help_and_quit_are_on_every_footer() {
    for (columns, page) in [20, 40, 60, 80, 100, 200]
        .into_iter()
        .zip(Page::ALL.into_iter().cycle())
    {
        let model = on(page, (columns, 16));
        let footer = screen(&model).pop().unwrap();
        assert!(
            footer.contains("? help") && footer.contains("q quit"),
            "{columns}: {footer}"
        );
    }
}

#[test]
fn states_can_be_told_apart_without_colour() {
    let mut model = dashboard((120, 36));
    model.theme = Theme { mono: true };
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
    let y = 3 + model.tree.index as u16;
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
        Event::Reply {
            id,
            reply: onceover_tui::update::Reply::Log(Ok(nasty.as_bytes().to_vec().into())),
        },
    );
    let id = model.detail.request.unwrap();
    update(
        &mut model,
        Event::Reply {
            id,
            reply: onceover_tui::update::Reply::Stage(Err(onceover_tui::update::Refusal {
                status: None,
                text: nasty.into(),
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
    let log = "자막 생성 중 中文字幕 ﾃｽﾄ 👨\u{200d}👩\u{200d}👧 é\n".repeat(50);
    let mut model = dashboard((120, 36));
    press(&mut model, "jjG");
    press(&mut model, "k");
    tick(&mut model, 0.0);
    tick(&mut model, 0.2);
    press(&mut model, "<s-tab>");
    if let Some(id) = model.detail.log_request {
        update(
            &mut model,
            Event::Reply {
                id,
                reply: onceover_tui::update::Reply::Log(Ok(log.clone().into())),
            },
        );
    }
    for columns in 60..130 {
        update(&mut model, Event::Resize(columns, 36));
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
    let page = |size| {
        let mut model = dashboard(size);
        press_answered(&mut model, "<home>jjjjcj");
        let lines = screen(&model);
        lines
            .iter()
            .filter(|line| !line.trim_matches(['│', ' ']).is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(page((120, 36)), @r#"
 onceover  ● live  redis 0.3 ms │ ● 1 running ◌ 1 pending ✖ 1 failed ✔ 1 done │ ↺ reuse 70 %  saved 6 h 12 m
┌ Callbacks of clip_03 · 3 ────────────────────────────────────────────────────────────────────────────────────────────┐
│  STATE       TRIES WHERE                                            STAGE                        LAST ANSWER         │
│  ◌ retrying  2     http://n8n.local/webhook/new                     paddleocr.detect_subtitle_a… HTTP 503            │
│▸ ✖ given up  5     http://n8n.local/webhook/clip/오래된             paddleocr.detect_subtitle_a… HTTP 503            │
│  ✔ sent      1     http://n8n.local/webhook/clip                    paddleocr.detect_subtitle_a… HTTP 200            │
└──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────┘
┌ clip_03 › paddleocr.detect_subtitle_area ────────────────────────────────────────────────────────────────────────────┐
│ where     http://n8n.local/webhook/clip/오래된                                                                       │
│ state     ✖ given up after 5 tries, last 12:05:56: answered 503                                                      │
│ tells     failed, run 0190c0de-0000-7000-8000-000000000001                                                           │
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
 tells     failed, run 0190c0de-0000-7000-8000-000000000001
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
