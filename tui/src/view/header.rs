//! Draws the first line: connection, counts by state, what reuse has saved; or that the connection is lost.

use onceover_types::StageState;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{past, text};
use crate::{
    figures,
    model::{Link, MissingPart, Model, Source},
    theme::{glyph, word},
};

/// Draws the line.
pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    if let Some(banner) = Banner::of_link(model) {
        let style = model.theme.alarm();
        buffer.set_style(text::within(buffer, area), style);
        let frozen = past::describe_frozen_beside(model, area.width);
        let line = banner.fit(area.width - text::width(&frozen)) + &frozen;
        text::put(buffer, area.x, area.y, area.width, &line, style);
        return;
    }
    if let Some(line) = past::describe_frozen(model, area.width) {
        let style = model.theme.cursor();
        buffer.set_style(text::within(buffer, area), style);
        text::put(buffer, area.x, area.y, area.width, &line, style);
        return;
    }
    let mut parts = list_parts(model, area.width >= 90);
    // Parts that do not fit are left out, the least needed first.
    while parts.iter().map(|part| text::width(&part.text)).sum::<u16>() > area.width {
        let Some(least) = (0..parts.len()).rev().min_by_key(|index| parts[*index].need) else {
            break;
        };
        if parts.len() == 1 {
            break;
        }
        parts.remove(least);
    }
    let mut x = area.x;
    for part in parts {
        x += text::put(
            buffer,
            x,
            area.y,
            area.right().saturating_sub(x),
            &part.text,
            part.style,
        );
    }
}

/// Columns without which the reason of a lost connection is left out.
const LEAST_REASON: u16 = 16;

/// What the line says of a lost connection. Words give way to a small screen, figures never do.
struct Banner {
    /// What does not answer, and for how long.
    whole: String,
    /// The same without the time, which the age of the data says, too.
    named: String,
    short: &'static str,
    /// Seconds to the next try; 0: it is under way.
    next: f64,
    /// How old what is shown is, and from when it is; `None` if nothing is shown yet.
    data: Option<(String, String)>,
    reason: String,
}

impl Banner {
    /// Describes the connection of the model; `None` if it is not lost.
    fn of_link(model: &Model) -> Option<Self> {
        let Link::Lost {
            missing,
            reason,
            since,
            retry_at,
            never,
        } = &model.link
        else {
            return None;
        };
        let lost_for = figures::format_whole(model.now.seconds_since(*since));
        let host = strip_scheme(&model.daemon);
        let (named, counts, short) = match (missing, never) {
            (MissingPart::Daemon, true) => (format!("no daemon at {host} yet"), false, "no daemon"),
            (MissingPart::Daemon, false) => (format!("no answer from {host}"), true, "no answer"),
            (MissingPart::Access, _) => (format!("{host} refuses access"), false, "no access"),
            (MissingPart::Redis, true) => (format!("{host} has no Redis"), false, "no Redis"),
            (MissingPart::Redis, false) => ("Redis unavailable".to_owned(), true, "no Redis"),
        };
        let data = model.store.seq().is_some().then(|| {
            let age = model.now.seconds_since(model.fresh_at).max(0.0);
            let from = figures::format_time(model.fresh_at, model.now, &model.tz);
            (figures::format_whole(age), from)
        });
        Some(Self {
            whole: if counts {
                format!("{named} for {lost_for}")
            } else {
                named.clone()
            },
            named,
            short,
            next: retry_at.seconds_since(model.now).ceil(),
            data,
            reason: reason.clone(),
        })
    }

    /// Makes the longest line that fits; the reason alone may be cut.
    fn fit(&self, columns: u16) -> String {
        let next = |words: &str| match self.next > 0.0 {
            true => format!("{words} {:.0} s", self.next),
            false => "trying now".to_owned(),
        };
        let data = |write: fn(&str, &str) -> String| match &self.data {
            Some((age, from)) => format!(" · {}", write(age, from)),
            None => String::new(),
        };
        let from = data(|_, from| format!("what you see is from {from}"));
        let old = data(|age, _| format!("data {age} old"));
        let least = data(|age, _| format!("{age} old"));
        let lines = [
            format!(" onceover  ✖ {} · {}{from}", self.whole, next("next try in")),
            format!(" ✖ {} · {}{old}", self.whole, next("next try in")),
            format!(" ✖ {} · {}{old}", self.named, next("next try in")),
            format!(" ✖ {} · {}{old}", self.short, next("next try in")),
            format!(" ✖ {} · {}{least}", self.short, next("try in")),
        ];
        let fits = |line: &String| text::width(line) <= columns;
        match lines.iter().position(fits) {
            // A reason of which only a few characters are seen says nothing.
            Some(0) if text::width(&lines[0]) + LEAST_REASON <= columns => format!("{} · {}", lines[0], self.reason),
            Some(index) => lines[index].clone(),
            None => format!(" ✖ {}{least} · {}", self.short, next("try")),
        }
    }
}

/// A piece of the line, and how much it is needed.
struct Part {
    text: String,
    style: Style,
    need: u8,
}

/// Lists what the line says, in its order.
fn list_parts(model: &Model, wide: bool) -> Vec<Part> {
    let theme = model.theme;
    let gap = if wide { "  " } else { " " };
    let mut parts = Vec::new();
    let mut say = |need: u8, text: String, style: Style| parts.push(Part { text, style, need });
    say(5, " onceover".into(), theme.strong());
    if !model.is_live() {
        say(9, format!("{gap}… connecting"), theme.warn());
        return parts;
    }
    let (state, style) = match (model.slow, model.reading) {
        (true, _) => ("slow", theme.warn()),
        (false, true) => ("re-reading", theme.good()),
        (false, false) => ("live", theme.good()),
    };
    say(9, format!("{gap}● {state}"), style);
    if wide {
        say(2, format!("  {}", strip_scheme(&model.daemon)), theme.plain());
        if let Some(system) = &model.system {
            let redis = &system.redis;
            let latency = match redis.latency_ms {
                _ if !redis.up => "down".to_owned(),
                Some(latency) => format!("{latency:.1} ms"),
                None => "up".to_owned(),
            };
            let style = if redis.up { theme.plain() } else { theme.bad() };
            say(3, format!("  redis {latency}"), style);
        }
        if model.source == Source::Stream {
            say(1, " via daemon".into(), theme.faint());
        }
        say(5, " │".into(), theme.faint());
    }
    let counts = &model.totals.tasks;
    for (state, count, short, need) in [
        (StageState::Running, counts.running, "run", 8),
        (StageState::Pending, counts.pending, "pend", 8),
        (StageState::Failed, counts.failed, "fail", 8),
        (StageState::Success, counts.completed, "done", 4),
        (StageState::Cancelled, counts.cancelled, "canc", 2),
    ] {
        if count == 0 && state == StageState::Cancelled {
            continue;
        }
        // An earlier stage of a task may have failed where a later one decides about its status.
        let partly = match state {
            StageState::Failed => model.part_failures.count(),
            _ => 0,
        };
        let has_any = count > 0 || partly > 0;
        let style = if has_any { theme.state(state) } else { theme.faint() };
        let text = match (wide, partly) {
            (true, 0) => format!(" {} {count} {}", glyph(state), word(state)),
            (true, _) => format!(" {} {count} {}, {partly} partly", glyph(state), word(state)),
            (false, 0) => format!("{gap}{count} {short}"),
            (false, _) => format!("{gap}{count}+{partly} {short}"),
        };
        say(need, text, style);
    }
    if wide {
        say(5, " │".into(), theme.faint());
    }
    let reuse = &model.totals.reuse;
    if let Some(ratio) = reuse.hit_ratio() {
        let percent = (ratio * 100.0).floor();
        let word = if wide { "reuse " } else { "" };
        say(7, format!(" ↺ {word}{percent:.0} %"), theme.reuse());
        say(
            6,
            format!("{gap}saved {}", figures::format_long(reuse.saved_seconds)),
            theme.reuse(),
        );
    } else if wide {
        say(3, " ↺ no reuse yet".into(), theme.faint());
    }
    if model.store.gaps > 0 {
        say(
            6,
            format!(
                "{gap}{} repaired",
                figures::count_noun(model.store.gaps as usize, "gap")
            ),
            theme.warn(),
        );
    }
    parts
}

/// Returns a daemon's address without its scheme.
fn strip_scheme(daemon: &str) -> &str {
    daemon.split_once("://").map_or(daemon, |(_, host)| host)
}
