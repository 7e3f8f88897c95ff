//! The log of a stage: what is read of it and when, scrolling, searching, filtering, how its lines are shown.

use bytes::Bytes;
use onceover_tui::{
    model::{Model, Page},
    update::{Call, Effect, Reply, UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{LogLine, LogPage, client::LogQuery};

use crate::fixture::*;

/// A log of a daemon, and how many pages of it were asked for.
struct Log {
    lines: Vec<String>,
    pages: usize,
    /// Seconds since the beginning.
    now: f64,
}

impl Log {
    /// Makes a log whose every 100th line has an error.
    fn of(lines: usize) -> Self {
        let text = |number: usize| match number % 100 {
            0 => format!("2026-11-22T12:05:01.056Z RuntimeError: CUDA out of memory in segment {number}"),
            _ => format!("2026-11-22T12:05:00.000Z segment {number}"),
        };
        Self {
            lines: (1..=lines).map(text).collect(),
            pages: 0,
            now: 0.0,
        }
    }

    /// Lets time go by.
    fn tick(&mut self, model: &mut Model) -> Vec<Effect> {
        self.now += 0.5;
        tick(model, self.now)
    }

    /// Answers as the daemon does.
    fn answer(&self, query: &LogQuery) -> LogPage {
        let total = self.lines.len() as u64;
        let all = (1..).zip(&self.lines);
        let search = query.search.as_ref().map(|text| text.to_lowercase());
        let has_text = |line: &str| search.as_ref().is_none_or(|text| line.to_lowercase().contains(text));
        let matching: Vec<_> = all.filter(|(_, text)| has_text(text)).collect();
        let last = total.saturating_sub(query.lines) + 1;
        let from = query.from.unwrap_or(if search.is_some() { 1 } else { last });
        let wanted = matching.iter().filter(|(number, _)| *number >= from);
        LogPage {
            lines: wanted
                .take(query.lines as usize)
                .map(|(number, text)| LogLine {
                    number: *number,
                    text: (*text).clone(),
                })
                .collect(),
            total,
            left_out: None,
            found: search.as_ref().map(|_| matching.len() as u64),
        }
    }

    /// Answers what is asked for until nothing is.
    fn serve(&mut self, model: &mut Model, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                if let Effect::Call {
                    id,
                    call: Call::Log { query, .. },
                } = effect
                {
                    self.pages += 1;
                    let reply = Reply::Log(Ok(self.answer(&query)));
                    effects.extend(update(model, UiEvent::Reply { id, reply }));
                }
            }
            effects.extend(self.tick(model));
        }
    }

    /// Presses keys, with the answers in between.
    fn press(&mut self, model: &mut Model, keys: &str) {
        let mut effects = press(model, keys);
        // The detail is read once the cursor has rested.
        for _ in 0..2 {
            effects.extend(self.tick(model));
        }
        self.serve(model, effects);
    }

    /// Opens the page of the log of a stage that has failed.
    fn open(&mut self, size: (u16, u16)) -> Model {
        let failed = vec![item("t", 1.0, &[("a.b", stage(StageState::Failed))])];
        let mut model = dashboard_of(failed, size);
        self.press(&mut model, "jL");
        assert_eq!(model.page, Page::Log);
        model
    }
}

/// The lines of the screen that have the text.
fn rows_with(model: &Model, text: &str) -> usize {
    screen(model).iter().filter(|line| line.contains(text)).count()
}

#[test]
fn an_ended_logs_end_comes_first_and_scrolling_up_loads_the_rest_until_it_is_whole() {
    let mut log = Log::of(8_670);
    let mut model = log.open((120, 36));
    assert_eq!(log.pages, 1, "only the end is read");
    assert_shows(&model, &["segment 8670", "ended  500 of 8670 lines"]);
    for _ in 0..30 {
        log.press(&mut model, "<pgup>");
    }
    assert!(model.detail.log.loaded() > 1_000 && model.detail.log.loaded() < 3_000);
    log.press(&mut model, "g");
    assert_shows(&model, &["segment 1", "segment 30", "ended  8670 lines"]);
    assert!(log.pages < 20, "{} pages", log.pages);
    log.press(&mut model, "G");
    assert_shows(&model, &["segment 8670"]);
}

#[test]
fn a_search_finds_lines_that_are_not_loaded_and_keeps_those_around_them() {
    let mut log = Log::of(8_670);
    let mut model = log.open((120, 36));
    log.press(&mut model, "/cuda<enter>");
    assert_shows(
        &model,
        &["/cuda: 86 of 86", "out of memory in segment 8600", "segment 8599"],
    );
    log.press(&mut model, "NN");
    assert_shows(
        &model,
        &["/cuda: 84 of 86", "out of memory in segment 8400", "segment 8401"],
    );
    log.press(&mut model, "nnn");
    assert_shows(
        &model,
        &["/cuda: 1 of 86", "out of memory in segment 100", "segment 99"],
    );
    log.press(&mut model, "<esc>");
    assert_hides(&model, "/cuda");
    assert_eq!(model.page, Page::Log, "one step back is from the search");
}

#[test]
fn a_filter_shows_only_the_lines_with_its_text() {
    let mut log = Log::of(8_670);
    let mut model = log.open((120, 36));
    log.press(&mut model, "fMEMORY<enter>");
    assert_shows(&model, &["only \"MEMORY\": 86 found", "segment 8600", "segment 8500"]);
    assert_eq!(rows_with(&model, "RuntimeError"), rows_with(&model, "segment"));
    log.press(&mut model, "<esc>");
    assert_shows(&model, &["segment 8669"]);
}

#[test]
fn a_slash_on_the_log_searches_the_log_and_leaves_the_tasks_alone() {
    let mut log = Log::of(300);
    let failed = vec![item("t", 1.0, &[("a.b", stage(StageState::Failed))])];
    let mut model = dashboard_of(failed, (120, 36));
    log.press(&mut model, "j<s-tab>");
    log.press(&mut model, "/segment 7<enter>");
    assert_eq!(model.page, Page::Log);
    assert!(model.filter_input.is_none() && !model.tree.is_narrowed());
    assert_shows(&model, &["/segment 7: "]);
}

#[test]
fn a_message_is_read_whole_in_the_detail_at_120_columns() {
    let mut log = Log::of(100);
    let failed = vec![item("t", 1.0, &[("a.b", stage(StageState::Failed))])];
    let mut model = dashboard_of(failed, (120, 36));
    log.press(&mut model, "j<s-tab>");
    let text: String = screen(&model).concat();
    let wrapped: String = text.chars().filter(|c| !matches!(c, '│' | ' ')).collect();
    assert!(wrapped.contains("RuntimeError:CUDAoutofmemoryinsegment100"), "{text}");
    assert_shows(&model, &["12:05:01 RuntimeError"]);
}

#[test]
fn lines_wrap_or_are_scrolled_sideways_and_times_can_be_turned_off() {
    let mut log = Log::of(100);
    let mut model = log.open((40, 16));
    assert_shows(
        &model,
        &["12:05:01 RuntimeError: CUDA out of memor", "         y in segment 100"],
    );
    log.press(&mut model, "w");
    assert_shows(&model, &["RuntimeError: CUDA out of memo…"]);
    log.press(&mut model, "<right><right><right>");
    assert_shows(&model, &["memory in segment 100"]);
    assert_hides(&model, "RuntimeError");
    log.press(&mut model, "t");
    assert_shows(&model, &["+00:30"]);
    log.press(&mut model, "t");
    assert_hides(&model, "+00:30");
    assert_hides(&model, "12:05:01");
    log.press(&mut model, "w");
    assert_shows(&model, &["RuntimeError: CUDA out of memory in segm"]);
}

#[test]
fn what_is_followed_stays_where_it_was_scrolled_to_and_the_end_follows_again() {
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    tick(&mut model, 0.0);
    let effects = tick(&mut model, 0.5);
    let id = effects.iter().find_map(|effect| match effect {
        Effect::FollowLog { id, .. } => Some(*id),
        _ => None,
    });
    let chunk = |from: usize, to: usize| {
        let lines = (from..=to).map(|number| format!("2026-11-22T12:05:00.000Z part {number}.\n"));
        UiEvent::LogChunk {
            id: id.unwrap(),
            bytes: Bytes::from(lines.collect::<String>()),
        }
    };
    update(&mut model, chunk(1, 500));
    press(&mut model, "L");
    assert_shows(&model, &["following", "part 500."]);
    press(&mut model, "<pgup>");
    // Above them the head counts the lines.
    let before = screen(&model)[4..20].to_vec();
    update(&mut model, chunk(501, 900));
    assert_eq!(screen(&model)[4..20], before, "what is read stays");
    assert_shows(&model, &["goes on below"]);
    press(&mut model, "G");
    update(&mut model, chunk(901, 950));
    assert_shows(&model, &["following", "part 950."]);
}

#[test]
fn a_log_of_a_million_lines_costs_a_frame_no_more_than_a_short_one() {
    let mut log = onceover_tui::model::log::LogBuffer::default();
    for number in 0..1_000_000u32 {
        log.push(format!("2026-11-22T12:05:00.000Z line {number}\n").as_bytes());
    }
    log.push("字".repeat(30_000).as_bytes());
    let mut model = dashboard((120, 36));
    press(&mut model, "jj");
    tick(&mut model, 0.0);
    tick(&mut model, 0.5);
    model.detail.log = log;
    press(&mut model, "L");
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        press(&mut model, "k");
        draw(&model);
    }
    // An unoptimised build on a busy machine is 50 times slower than what is asked of a real one.
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn the_border_between_tree_and_detail_can_be_moved_and_stays() {
    let mut model = dashboard((120, 36));
    let left = |model: &Model| model.panes().tree.width;
    let before = left(&model);
    press(&mut model, "<lt><lt>");
    let moved = left(&model);
    assert!(moved < before);
    press(&mut model, "n<esc>");
    assert_eq!(left(&model), moved, "another page changes nothing");
    press(&mut model, ">>>>");
    assert!(left(&model) > before);
    press(&mut model, "<lt><lt>");
    for _ in 0..50 {
        press(&mut model, ">");
    }
    assert!(left(&model) < 120, "the detail keeps some of the screen");
}
