//! The dashboard as a running program: terminal, input, effects, feed, and the loop that connects them to the state
//! machine. It does all the IO and reads the clock, which `update` and `view` never do.

mod announce;
mod backdrop;
mod editor;
mod effects;
mod ends;
mod hang_up;
mod job;
mod pictures;
mod play;
mod result_files;
mod scheduler;
mod terminal;

use std::{collections::VecDeque, ops::ControlFlow, path::Path};

use anyhow::Context;
use crossterm::event::{Event as Input, EventStream};
use futures_util::StreamExt;
use onceover_types::humane;
use onceover_wire::{client::Client, clock::Clock};
use tokio::{
    process::Child,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    actions::{Action, format_first_key},
    feed,
    kept_view::KeptView,
    key::Key,
    model::{Model, Tone},
    notify::{NotifyBy, NotifySettings},
    pointer::PointerEvent,
    record::SessionRecorder,
    theme::{Backdrop, ColourLevel, Theme, ThemeChoice, ThemeName},
    update::{Announcement, Effect, UiEvent, update},
};

use backdrop::LateAnswer;
use editor::{TextFile, TextProgram, end_child};
use effects::EffectRunner;
pub use effects::send_call;
use ends::Ends;
use job::{Job, JobSignal};
use pictures::Pictures;
pub use play::play;
pub use result_files::{list_stage_files, read_result_files};
use scheduler::Scheduler;
use terminal::Terminal;

/// Events taken in before the keyboard is read again.
const AT_ONCE: usize = 2_000;
/// Events are taken in this far apart at least: those that come one by one meanwhile are taken in together.
const EVENTS_PAUSE: Duration = Duration::from_millis(8);

/// How long a program that has the terminal may take to end when the dashboard has to.
const PROGRAM_ENDS: Duration = Duration::from_millis(300);

/// What the dashboard is started with, beside its model.
pub struct DashboardOptions {
    /// The Redis to follow instead of the one that the daemon names.
    pub redis: Option<String>,
    pub notify: NotifySettings,
    pub theme: ThemeChoice,
    /// Where the session is written.
    pub recorder: Option<SessionRecorder>,
}

/// Runs the dashboard until it is quit. The terminal is as before when this returns.
pub async fn run(mut model: Model, client: Client, options: DashboardOptions) -> anyhow::Result<()> {
    let DashboardOptions {
        redis,
        notify,
        theme,
        recorder,
    } = options;
    let (kept, damage) = match KeptView::load() {
        Ok(kept) => (kept, None),
        Err(damage) => (KeptView::default(), Some(damage)),
    };
    kept.clone().apply(&mut model);
    let (events, incoming) = mpsc::channel::<UiEvent>(4_096);
    let (ask_feed, requests) = mpsc::channel(8);
    let clock = client.clock().clone();
    let feed = tokio::spawn(feed::run(client.clone(), redis, events.clone(), requests));
    let pictures = Pictures::new(model.images.protocol, model.multiplexer);
    let runner = EffectRunner::new(client, events, ask_feed, pictures, notify.command.clone());
    let ended = match Dashboard::open(model, clock, incoming, runner, notify, recorder) {
        Ok(mut dashboard) => {
            let ended = match dashboard.begin(&theme, damage).await {
                Ok(ControlFlow::Continue(())) => dashboard.run().await,
                Ok(ControlFlow::Break(())) => Ok(()),
                Err(error) => Err(error),
            };
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
    /// Made with the first wait: nothing else may read the terminal then. `None` while another program has the keyboard.
    input: Option<EventStream>,
    /// What follows from an effect that was carried out, or waited for a program that had the terminal.
    follow_up: Vec<Effect>,
    notify: NotifySettings,
    /// What may still come of the terminal's answer at the start.
    late: LateAnswer,
    scheduler: Scheduler,
    /// When the next events are taken in.
    events_due: Instant,
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
        notify: NotifySettings,
        recorder: Option<SessionRecorder>,
    ) -> anyhow::Result<Self> {
        let ends = Ends::listen()?;
        let resized = signal(SignalKind::window_change()).context("cannot catch SIGWINCH")?;
        let job = Job::listen().context("cannot catch SIGTSTP and SIGCONT")?;
        let terminal = Terminal::open().context("cannot use the terminal")?;
        model.size = terminal.size();
        Ok(Self {
            terminal,
            model,
            clock,
            incoming,
            runner,
            ends,
            job,
            resized,
            input: None,
            notify,
            late: LateAnswer::default(),
            follow_up: Vec::new(),
            scheduler: Scheduler::new(),
            events_due: Instant::now(),
            recorder,
            shown_ahead_ms: 0,
        })
    }

    /// Chooses the colours, begins the recording, says what is wrong with the view that was kept, and takes in the keys
    /// that have come meanwhile. Breaks if the dashboard is to end.
    async fn begin(&mut self, choice: &ThemeChoice, damage: Option<String>) -> anyhow::Result<ControlFlow<()>> {
        let keys = self.choose_theme(choice);
        // While the terminal was asked for its colours, a click would have been read as keys.
        self.terminal
            .use_mouse(self.model.pointer.is_used)
            .context("cannot use the terminal")?;
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(&self.model);
        }
        if let Some(damage) = damage {
            self.say(Tone::Warned, damage);
        }
        for key in keys {
            for effect in self.apply_event(UiEvent::Key(key)) {
                if self.carry_out(effect).await?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Chooses the colours by what the terminal has. Returns the keys that came while it was asked.
    fn choose_theme(&mut self, choice: &ThemeChoice) -> Vec<Key> {
        let level = ColourLevel::from_env();
        let mut backdrop = Backdrop::from_env();
        let mut keys = Vec::new();
        let depends = matches!(choice.name, ThemeName::Auto | ThemeName::HighContrast) && level != ColourLevel::Mono;
        if depends && backdrop::is_known_to_answer(self.model.multiplexer) {
            let answer = tokio::task::block_in_place(backdrop::ask_terminal);
            self.late = answer.late_part();
            keys = answer.keys;
            if answer.backdrop != Backdrop::Unknown {
                backdrop = answer.backdrop;
            }
        }
        self.model.theme = Theme::new(choice, level, backdrop);
        keys
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
            let mut effects = VecDeque::from(effects);
            while let Some(effect) = effects.pop_front() {
                if self.carry_out(effect).await?.is_break() {
                    return Ok(());
                }
                effects.extend(self.follow_up.drain(..));
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
        let input = self.input.get_or_insert_with(EventStream::new);
        tokio::select! {
            biased;
            () = self.ends.come() => Wakeup::End,
            signal = self.job.next() => Wakeup::Job(signal),
            // Not from crossterm: it can lose the signal when a key comes at the same moment.
            _ = self.resized.recv() => Wakeup::Resized,
            input = input.next() => match input {
                Some(Ok(input)) => Wakeup::Input(input),
                // The terminal has hung up.
                Some(Err(_)) | None => Wakeup::End,
            },
            event = receive_after(self.events_due, &mut self.incoming) => event.map_or(Wakeup::End, Wakeup::Event),
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
            Input::Key(key) if self.late.swallow(&key) => return,
            Input::Key(key) => match Key::from_event(&key) {
                Some(key) => UiEvent::Key(key),
                None => return,
            },
            Input::Mouse(mouse) => match PointerEvent::from_event(&mouse) {
                Some(event) => UiEvent::Pointer(event),
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
        self.events_due = Instant::now() + EVENTS_PAUSE;
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
                let key = format_first_key(Action::Quit, self.model.page, &self.model.bindings);
                self.say(Tone::Neutral, format!("there is no shell to go back to: {key} quits"));
            }
            Effect::Suspend => {
                self.job.stop_all(&mut self.terminal).await?;
                self.measure_terminal();
            }
            Effect::EditText { id, text } => {
                let ended = self.show_text(&TextProgram::editor(), text, ".json").await?;
                let ControlFlow::Continue(result) = ended else {
                    return Ok(ControlFlow::Break(()));
                };
                let read = |file: TextFile| file.read().map_err(|error| format!("cannot read the text: {error}"));
                let result = result.and_then(read);
                let effects = self.apply_event(UiEvent::Edited { id, result });
                self.follow_up.extend(effects);
            }
            Effect::ShowText(text) => {
                let text = tokio::task::spawn_blocking(move || text.into_text()).await?;
                let ended = self.show_text(&TextProgram::pager(), text, ".txt").await?;
                let ControlFlow::Continue(result) = ended else {
                    return Ok(ControlFlow::Break(()));
                };
                let effects = self.apply_event(UiEvent::Paged(result.map(drop)));
                self.follow_up.extend(effects);
            }
            Effect::Copy(text) => self.terminal.copy(&text, self.model.multiplexer)?,
            Effect::UseMouse(is_used) => self.terminal.use_mouse(is_used)?,
            Effect::Announce(announcement) if self.notify.by != NotifyBy::Command => self.announce(&announcement)?,
            effect => self.runner.run(effect).await,
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Carries out an effect while another program has the terminal; one that needs the terminal itself waits until the
    /// program has ended.
    async fn carry_out_beside(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Announce(announcement) if self.notify.by != NotifyBy::Command => self.announce(&announcement)?,
            Effect::Quit
            | Effect::Redraw
            | Effect::Suspend
            | Effect::Copy(_)
            | Effect::EditText { .. }
            | Effect::ShowText(_)
            | Effect::UseMouse(_) => self.follow_up.push(effect),
            effect => self.runner.run(effect).await,
        }
        Ok(())
    }

    /// Sends an announcement to the terminal, if it is announced there.
    fn announce(&self, announcement: &Announcement) -> anyhow::Result<()> {
        if let Some(sequence) = self.notify.encode(announcement, self.model.multiplexer) {
            self.terminal.send(&sequence)?;
        }
        Ok(())
    }

    /// Shows a text in a program of the user. Returns the file as the program left it, or why there is none; breaks if
    /// the dashboard is to end.
    async fn show_text(
        &mut self,
        program: &TextProgram,
        text: String,
        ending: &'static str,
    ) -> anyhow::Result<ControlFlow<(), Result<TextFile, String>>> {
        let written = tokio::task::spawn_blocking(move || TextFile::write(&text, ending)).await?;
        let file = match written {
            Ok(file) => file,
            Err(error) => {
                let why = format!("cannot write a temporary file: {error}");
                return Ok(ControlFlow::Continue(Err(why)));
            }
        };
        let ControlFlow::Continue(ended) = self.lend_terminal(program, file.path()).await? else {
            return Ok(ControlFlow::Break(()));
        };
        Ok(ControlFlow::Continue(ended.map(|()| file)))
    }

    /// Gives the terminal to a program until that ends, and takes it back. Breaks if the dashboard is to end.
    async fn lend_terminal(
        &mut self,
        program: &TextProgram,
        file: &Path,
    ) -> anyhow::Result<ControlFlow<(), Result<(), String>>> {
        // Nothing else may read the keyboard.
        self.input = None;
        self.terminal.leave();
        let ended = match program.start(file) {
            Ok(child) => self.await_program(program, child).await?,
            Err(error) => ControlFlow::Continue(Err(program.describe_error(&error))),
        };
        if ended.is_continue() {
            self.ends.forget_keyboard();
            self.terminal.enter()?;
            self.input = Some(EventStream::new());
            self.measure_terminal();
        }
        Ok(ended)
    }

    /// Waits for a program that has the terminal. Events are taken in meanwhile, so that nothing waits for this one.
    async fn await_program(
        &mut self,
        program: &TextProgram,
        mut child: Child,
    ) -> anyhow::Result<ControlFlow<(), Result<(), String>>> {
        loop {
            let event = tokio::select! {
                biased;
                () = self.ends.come_from_outside() => {
                    end_child(&child);
                    let _ = timeout(PROGRAM_ENDS, child.wait()).await;
                    return Ok(ControlFlow::Break(()));
                }
                signal = self.job.next() => {
                    if signal == JobSignal::Stop {
                        self.job.stop_beside()?;
                    }
                    continue;
                }
                status = child.wait() => {
                    let failure = program.describe_failure(status?);
                    return Ok(ControlFlow::Continue(failure.map_or(Ok(()), Err)));
                }
                event = self.incoming.recv() => event,
            };
            let Some(event) = event else {
                return Ok(ControlFlow::Break(()));
            };
            let mut effects = Vec::new();
            self.take_events(event, &mut effects);
            for effect in effects {
                self.carry_out_beside(effect).await?;
            }
        }
    }

    /// Draws a frame if one is due. Breaks if the terminal has hung up: there is nowhere to say so.
    fn draw_if_due(&mut self) -> ControlFlow<()> {
        if self.scheduler.is_due(&self.model) {
            let Ok(drawn) = self.terminal.draw(&self.model, self.runner.pictures()) else {
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

/// Receives an event, not before it is due.
async fn receive_after(due: Instant, incoming: &mut mpsc::Receiver<UiEvent>) -> Option<UiEvent> {
    sleep_until(due).await;
    incoming.recv().await
}

async fn wait_until(wake: Option<Instant>) {
    match wake {
        // Nothing is due: only an event ends the wait. An hour is as good as for ever, and keeps the arithmetic simple.
        None => tokio::time::sleep(Duration::from_secs(3600)).await,
        Some(wake) => sleep_until(wake).await,
    }
}
