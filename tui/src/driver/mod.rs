//! The dashboard as a running program: terminal, input, effects, feed, and the loop that ties them to the
//! state machine. All the IO and the clock that `update` and `view` do without.

mod effects;
mod ends;
mod hang_up;
mod job;
mod scheduler;
mod terminal;

use anyhow::Context;
use crossterm::event::{Event as Input, EventStream};
use futures_util::StreamExt;
use onceover_types::{Timestamp, humane};
use onceover_wire::client::Client;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    feed,
    key::Key,
    model::{Model, Tone},
    update::{Effect, UiEvent, update},
};

pub use effects::answer;
use ends::Ends;
use job::{Job, JobSignal};
use scheduler::Scheduler;
use terminal::Terminal;

/// Events taken in before the next look at the keyboard.
const AT_ONCE: usize = 2_000;

/// Runs the dashboard until it is quit. The terminal is as before when this returns.
pub async fn run(mut model: Model, client: Client, redis: Option<String>) -> anyhow::Result<()> {
    let (events, mut incoming) = mpsc::channel::<UiEvent>(4_096);
    let (ask_feed, requests) = mpsc::channel(8);
    let clock = client.clock().clone();
    let feed = tokio::spawn(feed::run(client.clone(), redis, events.clone(), requests));
    let mut runner = effects::EffectRunner::new(client, events, ask_feed);

    let mut ends = Ends::listen()?;
    let mut resized = signal(SignalKind::window_change()).context("SIGWINCH cannot be caught")?;
    let mut job = Job::listen().context("SIGTSTP and SIGCONT cannot be caught")?;

    let mut terminal = Terminal::open().context("the terminal cannot be used")?;
    model.size = terminal.size();
    let mut input = EventStream::new();
    let mut scheduler = Scheduler::new();
    let mut told_ahead = 0;
    'running: loop {
        let wake = scheduler.wake(&model, &clock);
        let mut effects = Vec::new();
        tokio::select! {
            biased;
            () = ends.come() => break,
            signal = job.next() => {
                match signal {
                    JobSignal::Stop => job.stop(&mut terminal).await?,
                    // Stopped by somebody else, who left us no time to clear up.
                    JobSignal::Continued => terminal.enter()?,
                }
                model.size = terminal.size();
                model.redraw = true;
            }
            // Not from crossterm: it can lose the signal when a key comes at the same moment.
            _ = resized.recv() => {
                // Also for the size it had: it may have been smaller in between, and lost what was there.
                terminal.forget();
                let (columns, rows) = terminal.size();
                effects.extend(update(&mut model, UiEvent::Resize(columns, rows)));
            }
            key = input.next() => match key {
                Some(Ok(event)) => take(&mut model, event, clock.now(), &mut effects),
                // The terminal is gone.
                Some(Err(_)) | None => break,
            },
            event = incoming.recv() => {
                let Some(event) = event else { break };
                effects.extend(update(&mut model, UiEvent::Time(clock.now())));
                effects.extend(update(&mut model, event));
                for _ in 0..AT_ONCE {
                    let Ok(event) = incoming.try_recv() else { break };
                    effects.extend(update(&mut model, event));
                }
            }
            () = wait(wake) => {}
        }
        effects.extend(update(&mut model, UiEvent::Time(clock.now())));
        if std::mem::replace(&mut told_ahead, clock.ahead_ms()) != clock.ahead_ms() {
            tell_of_clock(&mut model, clock.ahead_ms());
        }
        for effect in effects {
            match effect {
                Effect::Quit => break 'running,
                Effect::Redraw => {
                    terminal.forget();
                    model.redraw = true;
                }
                Effect::Suspend if !job::has_shell() => {
                    model.say(Tone::Neutral, "there is no shell to go back to: q quits");
                    model.redraw = true;
                }
                Effect::Suspend => {
                    job.stop_all(&mut terminal).await?;
                    model.size = terminal.size();
                    model.redraw = true;
                }
                Effect::Copy(text) => terminal.copy(&text)?,
                effect => runner.run(effect).await,
            }
        }
        if scheduler.is_due(&model) {
            if terminal.draw(&model).is_err() {
                // The terminal is gone; there is nobody to tell.
                break;
            }
            model.redraw = false;
            scheduler.drawn();
        }
    }
    feed.abort();
    drop(terminal);
    Ok(())
}

/// Says that this machine's clock is not the daemon's.
fn tell_of_clock(model: &mut Model, ahead_ms: i64) {
    let off = humane::duration(Duration::from_secs(ahead_ms.unsigned_abs() / 1000));
    let text = match ahead_ms {
        0 => "this machine's clock goes with the daemon's again".to_owned(),
        1.. => format!("this machine's clock is {off} behind the daemon's, by which times are shown"),
        _ => format!("this machine's clock is {off} ahead of the daemon's, by which times are shown"),
    };
    model.say(Tone::Warned, text);
    model.redraw = true;
}

/// One event of the terminal, as the state machine's.
fn take(model: &mut Model, event: Input, now: Timestamp, effects: &mut Vec<Effect>) {
    let event = match event {
        Input::Key(key) => match Key::of(&key) {
            Some(key) => UiEvent::Key(key),
            None => return,
        },
        Input::Paste(text) => UiEvent::Paste(text),
        _ => return,
    };
    effects.extend(update(model, UiEvent::Time(now)));
    effects.extend(update(model, event));
}

async fn wait(until: Option<Instant>) {
    match until {
        // Nothing is due: only an event goes on. The hour keeps the arithmetic simple.
        None => tokio::time::sleep(Duration::from_secs(3600)).await,
        Some(until) => sleep_until(until).await,
    }
}
