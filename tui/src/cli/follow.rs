//! Follows the events of a daemon until something has happened. After a broken connection it goes on behind the last
//! event that was seen, so that none is missed, and meanwhile it says what it waits for.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use onceover_types::{NodeName, TaskId};
use onceover_wire::{
    Event,
    client::{Client, ClientError, Feed},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    failure::Failure,
    waits::{self, Teller},
};

/// A daemon that is restarted answers again within this time; the command gives up after it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server that accepts the connection answers within this time.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Beside the events, the end is checked for this often; the first time sooner.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const FIRST_CHECK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

/// The task or stage whose end is waited for.
#[derive(Debug, Clone, Copy)]
pub struct FollowedSubject<'a> {
    pub task: &'a TaskId,
    /// `None`: everything of the task.
    pub node: Option<&'a NodeName>,
}

/// How a wait for one end is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStyle {
    /// A line for each change: what is printed beside it stays whole.
    Lines,
    /// In a terminal one line with a bar; elsewhere as lines.
    Bar,
}

/// What is printed while no event comes.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// That any event is waited for.
    Everything,
    /// What keeps its end from coming.
    One(FollowedSubject<'a>, WaitStyle),
    /// Nothing: the caller shows how far everything is.
    Nothing,
}

/// Why no more events come from the stream.
enum Gap {
    /// The daemon, or its Redis, may answer again.
    Passing(Failure),
    Final(Failure),
}

impl From<ClientError> for Gap {
    fn from(error: ClientError) -> Self {
        match error.status() {
            // The daemon answers and its Redis does not; or nothing answers.
            Some(503) | None => Self::Passing(error.into()),
            Some(_) => Self::Final(error.into()),
        }
    }
}

impl From<Failure> for Gap {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

/// Follows the events until `check` returns an end. It is called after connecting, now and then, and after each event
/// for which `note` returns `Some`.
pub async fn follow<T>(
    client: &Client,
    about: About<'_>,
    mut note: impl FnMut(&Event) -> Result<Option<()>, Failure>,
    mut check: impl AsyncFnMut() -> Result<Option<T>, ClientError>,
) -> Result<T, Failure> {
    let style = match about {
        About::One(_, style) => style,
        About::Everything | About::Nothing => WaitStyle::Lines,
    };
    let mut reader = Reader {
        client,
        about,
        last: None,
        teller: Teller::new(style == WaitStyle::Bar),
    };
    let mut lost_since: Option<Instant> = None;
    let mut connected_once = false;
    loop {
        let failure = match timeout(CONNECT_PATIENCE, client.events(reader.last, None)).await {
            Err(_) => Failure::no_answer(client.base(), "no answer in time"),
            Ok(Err(error @ ClientError::Refused(_))) if error.status() != Some(503) => return Err(error.into()),
            Ok(Err(error @ ClientError::Unexpected { .. })) if !connected_once => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Ok(Ok(stream)) => {
                connected_once = true;
                lost_since = None;
                match reader.read(std::pin::pin!(stream), &mut note, &mut check).await {
                    Ok(end) => return Ok(end),
                    Err(Gap::Final(failure)) => return Err(failure),
                    Err(Gap::Passing(failure)) => failure,
                }
            }
        };
        let since = *lost_since.get_or_insert_with(Instant::now);
        if !connected_once || since.elapsed() > PATIENCE {
            return Err(failure);
        }
        reader.teller.say(format!("waiting: {}; trying again", failure.text));
        sleep(PAUSE).await;
    }
}

struct Reader<'a> {
    client: &'a Client,
    about: About<'a>,
    /// Sequence number of the last event seen.
    last: Option<u64>,
    teller: Teller,
}

impl Reader<'_> {
    /// Reads one connection's events, until there is an end or the connection breaks.
    async fn read<T>(
        &mut self,
        mut stream: impl Stream<Item = Result<Feed, ClientError>> + Unpin,
        note: &mut impl FnMut(&Event) -> Result<Option<()>, Failure>,
        check: &mut impl AsyncFnMut() -> Result<Option<T>, ClientError>,
    ) -> Result<T, Gap> {
        let mut must_check = true;
        let mut patience = FIRST_CHECK;
        loop {
            if std::mem::take(&mut must_check)
                && let Some(end) = check().await?
            {
                return Ok(end);
            }
            match timeout(patience, stream.next()).await {
                Err(_) => {
                    self.say_why().await?;
                    must_check = true;
                    patience = CHECK_EVERY;
                }
                Ok(Some(Ok(Feed::Event(event)))) => {
                    if self.last.is_some_and(|last| event.seq <= last) {
                        continue;
                    }
                    self.last = Some(event.seq);
                    must_check = note(&event)?.is_some();
                    self.say_progress(&event);
                }
                Ok(Some(Ok(Feed::Reset(seq)))) => {
                    self.last = Some(seq);
                    must_check = true;
                }
                // None are asked for.
                Ok(Some(Ok(Feed::Heartbeat(_)))) => {}
                Ok(Some(Err(error))) => return Err(Gap::Passing(error.into())),
                Ok(None) => return Err(Gap::Passing(Failure::new("the daemon closed the event stream"))),
            }
        }
    }

    /// Says how far the stage is that an event is about.
    fn say_progress(&mut self, event: &Event) {
        let About::One(subject, _) = self.about else {
            return;
        };
        let is_other = |node: &NodeName| event.task_name.as_ref() != Some(node);
        if event.task_id != *subject.task || subject.node.is_some_and(is_other) {
            return;
        }
        // The command itself says how the one stage ended that it waits for.
        let has_ended = event.stage.as_ref().is_some_and(|stage| !stage.status.in_flight());
        if has_ended && subject.node.is_some() {
            return;
        }
        let text = match self.teller.is_bar() {
            true => waits::draw_bar(event, subject.node.is_none()),
            false => waits::describe_event(event),
        };
        if let Some(text) = text {
            self.teller.say(text);
        }
    }

    /// Says what keeps the end from coming, after a while without an event.
    async fn say_why(&mut self) -> Result<(), ClientError> {
        let reason = match self.about {
            About::Nothing => None,
            About::Everything => Some(format!("waiting for events of {}", self.client.base())),
            About::One(subject, _) => waits::explain_wait(self.client, subject.task, subject.node).await?,
        };
        match reason {
            Some(reason) => self.teller.say(reason),
            None => self.teller.forget(),
        }
        Ok(())
    }
}
