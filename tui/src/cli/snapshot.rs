//! `onceover snapshot`: one frame as text. Keys are applied as the dashboard would, but nothing is changed.

use onceover_types::Timestamp;
use onceover_wire::client::Client;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{Outcome, args::FrameArgs, out::print};
use crate::{
    driver, feed,
    glyphs::Glyphs,
    model::{MissingPart, Model, Source},
    theme::Theme,
    update::{Call, Effect, UiEvent, update},
    view::{text, view},
};

pub async fn run(client: &Client, args: FrameArgs) -> Outcome {
    let read = feed::read_snapshot(client).await;
    // Known only from an answer where this machine's clock is off.
    let now = client.clock().now();
    let mut model = Model::new(client.base(), now, args.size);
    model.theme = Theme { mono: true };
    model.glyphs = Glyphs::from_env();
    model.tz = jiff::tz::TimeZone::system();
    model.read_only = true;
    // Nothing is followed, so there is no way of following to speak of.
    model.source = Source::PubSub;
    model.wanted = args.task;
    let there = read.is_ok();
    let event = match read {
        Ok(snapshot) => UiEvent::Snapshot(Box::new(snapshot)),
        Err(error) => UiEvent::Lost {
            missing: MissingPart::of(&error),
            reason: feed::short_reason(&error),
            retry_in_ms: 0,
        },
    };
    let effects = update(&mut model, event);
    do_reads(client, &mut model, effects).await;
    for key in args.keys.0 {
        let effects = update(&mut model, UiEvent::Key(key));
        do_reads(client, &mut model, effects).await;
        let effects = update(&mut model, UiEvent::Time(now));
        do_reads(client, &mut model, effects).await;
    }
    // The detail is fetched once the cursor has rested.
    for rest_ms in [0, 200] {
        let later = Timestamp::from_millis(now.as_millis() + rest_ms);
        let effects = update(&mut model, UiEvent::Time(later));
        do_reads(client, &mut model, effects).await;
    }
    let mut buffer = Buffer::empty(Rect::new(0, 0, args.size.0, args.size.1));
    view(&model, &mut buffer);
    print(&text::lines_of(&buffer).join("\n"))?;
    Ok(there)
}

/// Does the effects that read; a printed frame does no others.
async fn do_reads(client: &Client, model: &mut Model, effects: Vec<Effect>) {
    for effect in effects {
        let (id, call) = match effect {
            Effect::Call { id, call } if !call.changes() => (id, call),
            Effect::FollowLog { id, task, node } => (id, Call::Log { task, node }),
            _ => continue,
        };
        let reply = driver::answer(client, call).await;
        update(model, UiEvent::Reply { id, reply });
    }
}
