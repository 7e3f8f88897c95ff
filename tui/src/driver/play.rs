//! Plays a recorded session in the terminal, at its own pace or faster.

use std::time::Duration;

use anyhow::Context;
use crossterm::event::{Event as Input, EventStream, KeyCode, KeyEvent, KeyModifiers};
use futures_util::StreamExt;
use onceover_types::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::{ends::Ends, terminal::Terminal};
use crate::record::{Player, ReplayStep};

/// Plays the session until it ends or is left. `speed` is how many times faster than it was. Returns the number of
/// frames, and of those that differ from what was drawn then.
pub async fn play(player: &mut Player, speed: f64) -> anyhow::Result<(usize, usize)> {
    let mut ends = Ends::listen()?;
    let terminal = Terminal::open().context("cannot use the terminal")?;
    let mut input = EventStream::new();
    let mut last: Option<Timestamp> = None;
    let (mut frames, mut different) = (0, 0);
    while let Some(step) = player.step()? {
        match step {
            ReplayStep::Frame(frame) => {
                frames += 1;
                different += usize::from(!frame.is_same);
                terminal.show(&frame.bytes)?;
            }
            ReplayStep::Time(at) => {
                let millis = last.map_or(0, |last| (at.as_millis() - last.as_millis()).max(0));
                last = Some(at);
                let pause = Duration::try_from_secs_f64(millis as f64 / 1000.0 / speed).unwrap_or_default();
                if wait(pause, &mut ends, &mut input).await.is_left() {
                    return Ok((frames, different));
                }
            }
            ReplayStep::Event | ReplayStep::End(_) => {}
        }
    }
    // The last frame stays until a key is pressed.
    while !wait(Duration::from_secs(3600), &mut ends, &mut input).await.is_key() {}
    Ok((frames, different))
}

/// What has ended a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PauseEnd {
    Over,
    Key,
    Left,
}

impl PauseEnd {
    fn is_left(self) -> bool {
        self == Self::Left
    }

    fn is_key(self) -> bool {
        self != Self::Over
    }
}

/// Waits for so long, or until the replay is left; another key ends the pause.
async fn wait(pause: Duration, ends: &mut Ends, input: &mut EventStream) -> PauseEnd {
    if pause.is_zero() {
        return PauseEnd::Over;
    }
    let until = Instant::now() + pause;
    loop {
        tokio::select! {
            biased;
            () = ends.come() => return PauseEnd::Left,
            event = input.next() => match event {
                Some(Ok(Input::Key(key))) if is_quit(key) => return PauseEnd::Left,
                Some(Ok(Input::Key(_))) => return PauseEnd::Key,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return PauseEnd::Left,
            },
            () = sleep_until(until) => return PauseEnd::Over,
        }
    }
}

fn is_quit(key: KeyEvent) -> bool {
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => key.modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}
