//! The first line: connection, counts by state, what reuse saved; or, when the connection is gone, that.

use onceover_common::StageState;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{figures, text};
use crate::{
    model::{Link, Missing, Model, Source},
    theme::{glyph, word},
};

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
        let away = figures::long(model.now.seconds_since(*since).floor());
        let next = retry_at.seconds_since(model.now).ceil();
        let next = if next > 0.0 {
            format!("next try in {next:.0} s")
        } else {
            "trying now".into()
        };
        let host = host(&model.daemon);
        let what = match (missing, never) {
            (Missing::Daemon, true) => format!("no daemon at {host} yet"),
            (Missing::Daemon, false) => format!("no answer from {host} for {away}"),
            (Missing::Redis, true) => format!("{host} has no Redis"),
            (Missing::Redis, false) => format!("Redis is away for {away}"),
        };
        let seen = if model.store.seq().is_some() {
            format!(
                " · what you see is from {}",
                figures::clock(model.fresh_at, model.now, &model.tz)
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
    let wide = area.width >= 90;
    let parts = parts(model, wide);
    let mut x = area.x;
    for (part, style) in parts {
        // A part that does not fit is left out whole.
        if text::width(&part) > area.right().saturating_sub(x) {
            if x == area.x {
                text::put(buffer, x, area.y, area.width, &part, style);
            }
            break;
        }
        x += text::put(buffer, x, area.y, area.width, &part, style);
    }
}

fn parts(model: &Model, wide: bool) -> Vec<(String, Style)> {
    let theme = model.theme;
    let gap = if wide { "  " } else { " " };
    let mut parts = vec![(" onceover".to_owned(), theme.strong())];
    if model.is_live() {
        let state = if model.reading {
            format!("{gap}● re-reading")
        } else {
            format!("{gap}● live")
        };
        parts.push((state, theme.good()));
    } else {
        parts.push((format!("{gap}… connecting"), theme.warn()));
        return parts;
    }
    if wide {
        parts.push((format!("  {}", host(&model.daemon)), theme.plain()));
        if let Some(system) = &model.system {
            let redis = &system.redis;
            let latency = match redis.latency_ms {
                _ if !redis.up => "down".to_owned(),
                Some(latency) => format!("{latency:.1} ms"),
                None => "up".to_owned(),
            };
            let style = if redis.up { theme.plain() } else { theme.bad() };
            parts.push((format!("  redis {latency}"), style));
        }
        if model.source == Source::Stream {
            parts.push((" via daemon".into(), theme.faint()));
        }
        parts.push((" │".into(), theme.faint()));
    }
    let counts = &model.totals.tasks;
    for (state, count, short) in [
        (StageState::Running, counts.running, "run"),
        (StageState::Pending, counts.pending, "pend"),
        (StageState::Failed, counts.failed, "fail"),
        (StageState::Success, counts.completed, "done"),
        (StageState::Cancelled, counts.cancelled, "canc"),
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
        parts.push((text, style));
    }
    let reuse = &model.totals.reuse;
    if wide {
        parts.push((" │".into(), theme.faint()));
    }
    if let Some(ratio) = reuse.hit_ratio() {
        let percent = (ratio * 100.0).floor();
        let text = if wide {
            format!(" ↺ reuse {percent:.0} %")
        } else {
            format!("{gap}↺ {percent:.0} %")
        };
        parts.push((text, theme.reuse()));
        parts.push((
            format!("{gap}saved {}", figures::long(reuse.saved_seconds)),
            theme.reuse(),
        ));
    } else if wide {
        parts.push((" ↺ no reuse yet".into(), theme.faint()));
    }
    if model.store.gaps > 0 {
        parts.push((format!("{gap}{} gaps repaired", model.store.gaps), theme.warn()));
    }
    parts
}

fn host(daemon: &str) -> &str {
    daemon.split_once("://").map_or(daemon, |(_, host)| host)
}
