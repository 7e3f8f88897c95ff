//! Draws the first line: connection, counts by state, what reuse has saved; or that the connection is lost.

use onceover_types::StageState;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::text;
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
    if let Link::Lost {
        missing,
        reason,
        since,
        retry_at,
        never,
    } = &model.link
    {
        let lost_for = figures::format_whole(model.now.seconds_since(*since));
        let next = retry_at.seconds_since(model.now).ceil();
        let next = if next > 0.0 {
            format!("next try in {next:.0} s")
        } else {
            "trying now".into()
        };
        let host = strip_scheme(&model.daemon);
        let what = match (missing, never) {
            (MissingPart::Daemon, true) => format!("no daemon at {host} yet"),
            (MissingPart::Daemon, false) => format!("no answer from {host} for {lost_for}"),
            (MissingPart::Access, _) => format!("{host} refuses access"),
            (MissingPart::Redis, true) => format!("{host} has no Redis"),
            (MissingPart::Redis, false) => format!("Redis unavailable for {lost_for}"),
        };
        let seen = if model.store.seq().is_some() {
            format!(
                " · what you see is from {}",
                figures::format_time(model.fresh_at, model.now, &model.tz)
            )
        } else {
            String::new()
        };
        let style = model.theme.alarm();
        buffer.set_style(text::within(buffer, area), style);
        text::put(
            buffer,
            area.x,
            area.y,
            area.width,
            &format!(" onceover  ✖ {what} · {next}{seen} · {reason}"),
            style,
        );
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
    let state = if model.reading { "re-reading" } else { "live" };
    say(9, format!("{gap}● {state}"), theme.good());
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
        let style = if count > 0 { theme.state(state) } else { theme.faint() };
        let text = if wide {
            format!(" {} {count} {}", glyph(state), word(state))
        } else {
            format!("{gap}{count} {short}")
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
