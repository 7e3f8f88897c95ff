//! `onceover snapshot`: prints one frame as text. Keys do what they do in the dashboard, but nothing is changed.

use onceover_types::Timestamp;
use onceover_wire::client::{Client, LogQuery};
use ratatui::{buffer::Buffer, layout::Rect};

use super::{args::FrameArgs, failure::CommandResult, out::print};
use crate::{
    driver, feed,
    glyphs::Glyphs,
    key::KeyBindings,
    model::{MissingPart, Model, Source, json_tree::JsonTree, log::PAGE_LINES},
    theme::Theme,
    update::{Call, Effect, UiEvent, update},
    view::{text, view},
};

/// Runs the command.
pub async fn run(client: &Client, args: FrameArgs, bindings: KeyBindings) -> CommandResult {
    let read = feed::read_snapshot(client).await;
    // After the first answer: where this machine's clock is wrong, only an answer has the daemon's time.
    let now = client.clock().now();
    let mut model = Model::new(client.base(), now, args.size);
    model.theme = Theme::mono();
    model.bindings = bindings;
    model.glyphs = Glyphs::from_env();
    model.tz = jiff::tz::TimeZone::system();
    model.read_only = true;
    // No events are followed, so the frame must not say that they come from the stream alone.
    model.source = Source::PubSub;
    model.wanted = args.task;
    let is_read = read.is_ok();
    let event = match read {
        Ok(snapshot) => UiEvent::Snapshot(Box::new(snapshot)),
        Err(error) => UiEvent::Lost {
            missing: MissingPart::from_error(&error),
            reason: feed::short_reason(&error),
            retry_in_ms: 0,
        },
    };
    let effects = update(&mut model, event);
    carry_out_reads(client, &mut model, effects).await;
    for key in args.keys.0 {
        let effects = update(&mut model, UiEvent::Key(key));
        carry_out_reads(client, &mut model, effects).await;
        let effects = update(&mut model, UiEvent::Time(now));
        carry_out_reads(client, &mut model, effects).await;
    }
    // The detail is fetched once the cursor has rested.
    for rest_ms in [0, 200] {
        let later = Timestamp::from_millis(now.as_millis() + rest_ms);
        let effects = update(&mut model, UiEvent::Time(later));
        carry_out_reads(client, &mut model, effects).await;
    }
    let mut buffer = Buffer::empty(Rect::new(0, 0, args.size.0, args.size.1));
    view(&model, &mut buffer);
    print(&text::lines_of(&buffer).join("\n"))?;
    Ok(is_read)
}

/// Carries out the effects that read; a printed frame has no others.
async fn carry_out_reads(client: &Client, model: &mut Model, effects: Vec<Effect>) {
    for effect in effects {
        let (id, call) = match effect {
            Effect::Call { id, call } if !call.changes() => (id, call),
            Effect::FollowLog { id, task, node } | Effect::FollowTaskLog { id, task, node } => {
                let query = LogQuery {
                    lines: PAGE_LINES,
                    ..LogQuery::default()
                };
                (id, Call::Log { task, node, query })
            }
            Effect::ParseJson { id, json } => {
                let tree = Box::new(JsonTree::parse(&json));
                update(model, UiEvent::JsonParsed { id, tree });
                continue;
            }
            _ => continue,
        };
        let reply = driver::send_call(client, call).await;
        update(model, UiEvent::Reply { id, reply });
    }
}
