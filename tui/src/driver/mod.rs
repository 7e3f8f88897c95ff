//! The dashboard as a running program: terminal, input, effects, feed, and the loop that connects them to the state
//! machine. It does all the IO and reads the clock, which `update` and `view` never do.

mod effects;
mod ends;
mod hang_up;
mod job;
mod play;
mod scheduler;
mod terminal;

use std::ops::ControlFlow;

use anyhow::Context;
use crossterm::event::{Event as Input, EventStream};
use futures_util::StreamExt;
use onceover_types::humane;
use onceover_wire::{client::Client, clock::Clock};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    feed,
    kept_view::KeptView,
    key::Key,
    model::{Model, Tone},
    record::SessionRecorder,
    update::{Effect, UiEvent, update},
};

use effects::EffectRunner;
pub use effects::send_call;
use ends::Ends;
use job::{Job, JobSignal};
pub use play::play;
use scheduler::Scheduler;
use terminal::Terminal;

/// Events taken in before the keyboard is read again.
const AT_ONCE: usize = 2_000;

/// Runs the dashboard until it is quit, and writes the session to the recorder. The terminal is as before when this
/// returns.
pub async fn run(
    mut model: Model,
    client: Client,
    redis: Option<String>,
    recorder: Option<SessionRecorder>,
) -> anyhow::Result<()> {
    let kept = KeptView::load();
    kept.apply(&mut model);
    let (events, incoming) = mpsc::channel::<UiEvent>(4_096);
    let (ask_feed, requests) = mpsc::channel(8);
    let clock = client.clock().clone();
    let feed = tokio::spawn(feed::run(client.clone(), redis, events.clone(), requests));
    let runner = EffectRunner::new(client, events, ask_feed);
    let ended = match Dashboard::open(model, clock, incoming, runner, recorder) {
        Ok(mut dashboard) => {
            let ended = dashboard.run().await;
            let view = KeptView::of_model(&dashboard.model);
            if view != kept {
                view.save();
            }
            ended
        }
        Err(error) => Err(error),
    };
    feed.abort();
    ended
}

/// What the loop wakes up for.
enum Wakeup {
    /// The dashboard is to end, or its terminal has.
    End,
    Job(JobSignal),
    Resized,
    Input(Input),
    Event(UiEvent),
    /// A frame is due, or something that the model waits for.
    Due,
}

/// The dashboard while it has the terminal.
struct Dashboard {
    /// Dropped first: the terminal is given back before anything else ends.
    terminal: Terminal,
    model: Model,
    clock: Clock,
    incoming: mpsc::Receiver<UiEvent>,
    runner: EffectRunner,
    ends: Ends,
    job: Job,
    resized: Signal,
    input: EventStream,
    scheduler: Scheduler,
    recorder: Option<SessionRecorder>,
    /// By how much the daemon's clock was ahead when the screen last said so.
    shown_ahead_ms: i64,
}

impl Dashboard {
    /// Listens to signals and takes the terminal.
    fn open(
        mut model: Model,
        clock: Clock,
        incoming: mpsc::Receiver<UiEvent>,
        runner: EffectRunner,
        mut recorder: Option<SessionRecorder>,
    ) -> anyhow::Result<Self> {
        let ends = Ends::listen()?;
        let resized = signal(SignalKind::window_change()).context("cannot catch SIGWINCH")?;
        let job = Job::listen().context("cannot catch SIGTSTP and SIGCONT")?;
        let terminal = Terminal::open().context("cannot use the terminal")?;
        model.size = terminal.size();
        if let Some(recorder) = &mut recorder {
            recorder.begin(&model);
        }
        Ok(Self {
            terminal,
            model,
            clock,
            incoming,
            runner,
            ends,
            job,
            resized,
            input: EventStream::new(),
            scheduler: Scheduler::new(),
            recorder,
            shown_ahead_ms: 0,
        })
    }

    /// Takes events, carries out effects and draws, until the dashboard ends.
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            let wakeup = self.wait().await;
            let mut effects = Vec::new();
            if self.take_wakeup(wakeup, &mut effects).await?.is_break() {
                return Ok(());
            }
            effects.extend(self.apply_event(UiEvent::Time(self.clock.now())));
            self.note_clock();
            self.report_recorder();
            for effect in effects {
                if self.carry_out(effect).await?.is_break() {
                    return Ok(());
                }
            }
            if self.draw_if_due().is_break() {
                return Ok(());
            }
        }
    }

    /// Takes in one event, and records it.
    fn apply_event(&mut self, event: UiEvent) -> Vec<Effect> {
        if let Some(recorder) = &mut self.recorder {
            recorder.note_event(&self.model, &event);
        }
        update(&mut self.model, event)
    }

    /// Says something in the footer.
    fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.apply_event(UiEvent::Say {
            tone,
            text: text.into(),
        });
    }

    /// Says that the recording has ended before the dashboard.
    fn report_recorder(&mut self) {
        let reason = self.recorder.as_mut().and_then(SessionRecorder::take_reason);
        if let Some(reason) = reason {
            self.say(Tone::Bad, format!("the recording has ended: {reason}"));
        }
    }

    /// Waits for the next thing that happens; of several, for the one that is listed first.
    async fn wait(&mut self) -> Wakeup {
        let wake = self.scheduler.wake(&self.model, &self.clock);
        tokio::select! {
            biased;
            () = self.ends.come() => Wakeup::End,
            signal = self.job.next() => Wakeup::Job(signal),
            // Not from crossterm: it can lose the signal when a key comes at the same moment.
            _ = self.resized.recv() => Wakeup::Resized,
            input = self.input.next() => match input {
                Some(Ok(input)) => Wakeup::Input(input),
                // The terminal has hung up.
                Some(Err(_)) | None => Wakeup::End,
            },
            event = self.incoming.recv() => event.map_or(Wakeup::End, Wakeup::Event),
            () = wait_until(wake) => Wakeup::Due,
        }
    }

    /// Takes in what has happened. Breaks if the dashboard is to end.
    async fn take_wakeup(&mut self, wakeup: Wakeup, effects: &mut Vec<Effect>) -> anyhow::Result<ControlFlow<()>> {
        match wakeup {
            Wakeup::End => return Ok(ControlFlow::Break(())),
            Wakeup::Job(signal) => {
                match signal {
                    JobSignal::Stop => self.job.stop(&mut self.terminal).await?,
                    // It was stopped by a signal that left no time to give the terminal back.
                    JobSignal::Continued => self.terminal.enter()?,
                }
                self.measure_terminal();
            }
            Wakeup::Resized => {
                // The size may be what it was: it may have been smaller in between, and cells are lost then.
                self.measure_terminal();
            }
            Wakeup::Input(input) => self.take_input(input, effects),
            Wakeup::Event(event) => self.take_events(event, effects),
            Wakeup::Due => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Takes in the size of the terminal, and draws everything again.
    fn measure_terminal(&mut self) {
        self.forget_screen();
        let (columns, rows) = self.terminal.size();
        self.apply_event(UiEvent::Resize(columns, rows));
    }

    /// Makes the next frame write every cell.
    fn forget_screen(&mut self) {
        self.terminal.forget();
        self.model.redraw = true;
        if let Some(recorder) = &mut self.recorder {
            recorder.note_forget();
        }
    }

    /// Takes in one event of the terminal.
    fn take_input(&mut self, input: Input, effects: &mut Vec<Effect>) {
        let event = match input {
            Input::Key(key) => match Key::from_event(&key) {
                Some(key) => UiEvent::Key(key),
                None => return,
            },
            Input::Paste(text) => UiEvent::Paste(text),
            _ => return,
        };
        effects.extend(self.apply_event(UiEvent::Time(self.clock.now())));
        effects.extend(self.apply_event(event));
    }

    /// Takes in an event of the daemon, and those that have come with it.
    fn take_events(&mut self, first: UiEvent, effects: &mut Vec<Effect>) {
        effects.extend(self.apply_event(UiEvent::Time(self.clock.now())));
        effects.extend(self.apply_event(first));
        for _ in 0..AT_ONCE {
            let Ok(event) = self.incoming.try_recv() else { break };
            effects.extend(self.apply_event(event));
        }
    }

    /// Says when this machine's clock has turned out not to be the daemon's, or to be so again.
    fn note_clock(&mut self) {
        let ahead_ms = self.clock.ahead_ms();
        if std::mem::replace(&mut self.shown_ahead_ms, ahead_ms) != ahead_ms {
            self.say(Tone::Warned, describe_clock(ahead_ms));
        }
    }

    /// Carries out an effect. Breaks if the dashboard is to end.
    async fn carry_out(&mut self, effect: Effect) -> anyhow::Result<ControlFlow<()>> {
        match effect {
            Effect::Quit => return Ok(ControlFlow::Break(())),
            Effect::Redraw => self.forget_screen(),
            Effect::Suspend if !job::has_shell() => {
                self.say(Tone::Neutral, "there is no shell to go back to: q quits");
            }
            Effect::Suspend => {
                self.job.stop_all(&mut self.terminal).await?;
                self.measure_terminal();
            }
            Effect::Copy(text) => self.terminal.copy(&text, self.model.multiplexer)?,
            effect => self.runner.run(effect).await,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Draws a frame if one is due. Breaks if the terminal has hung up: there is nowhere to say so.
    fn draw_if_due(&mut self) -> ControlFlow<()> {
        if self.scheduler.is_due(&self.model) {
            let Ok(drawn) = self.terminal.draw(&self.model) else {
                return ControlFlow::Break(());
            };
            if let (Some(recorder), Some(bytes)) = (&mut self.recorder, drawn) {
                recorder.note_frame(&bytes);
            }
            self.model.redraw = false;
            self.scheduler.note_frame();
        }
        ControlFlow::Continue(())
    }
}

/// Says how this machine's clock differs from the daemon's.
fn describe_clock(ahead_ms: i64) -> String {
    let off = humane::duration(Duration::from_secs(ahead_ms.unsigned_abs() / 1000));
    match ahead_ms {
        0 => "this machine's clock agrees with the daemon's again".to_owned(),
        1.. => format!("this machine's clock is {off} behind the daemon's, by which times are shown"),
        _ => format!("this machine's clock is {off} ahead of the daemon's, by which times are shown"),
    }
}

async fn wait_until(wake: Option<Instant>) {
    match wake {
        // Nothing is due: only an event ends the wait. An hour is as good as for ever, and keeps the arithmetic simple.
        None => tokio::time::sleep(Duration::from_secs(3600)).await,
        Some(wake) => sleep_until(wake).await,
    }
}
