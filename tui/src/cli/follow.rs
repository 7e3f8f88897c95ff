//! Following the events of a daemon until something has happened. A broken connection is taken up again after the last
//! event seen, so that none is missed; what is waited for meanwhile is said.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use onceover_types::{NodeName, TaskId};
use onceover_wire::{
    Event,
    client::{Client, ClientError, Feed},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Failure,
    waits::{self, Teller},
};

/// A daemon that is restarted is back within this time; longer, and the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// A server that takes the connection answers within this time.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// While waiting for an end, it is looked up this often beside the events; the first time sooner.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const FIRST_LOOK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(500);

/// Whose end is waited for.
#[derive(Debug, Clone, Copy)]
pub struct FollowedSubject<'a> {
    pub task: &'a TaskId,
    /// None: everything of the task.
    pub node: Option<&'a NodeName>,
}

/// What is waited for: what is said while nothing comes is about it.
#[derive(Debug, Clone, Copy)]
pub enum About<'a> {
    /// Whatever happens.
    Everything,
    One(FollowedSubject<'a>),
    /// Who waits says itself how far all is.
    Told,
}

/// Why nothing comes from the stream any more.
enum Gap {
    /// The daemon, or its Redis, may come back.
    Passing(Failure),
    Final(Failure),
}

impl From<ClientError> for Gap {
    fn from(error: ClientError) -> Self {
        match error.status() {
            // The daemon is there, what it needs is not; or nobody is there.
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

/// Follows the events. `seen` says when it is worth a look whether the end is there, `look` whether it is; it is asked
/// after connecting too, and now and then.
pub async fn follow<T>(
    client: &Client,
    about: About<'_>,
    mut seen: impl FnMut(&Event) -> Result<Option<()>, Failure>,
    mut look: impl AsyncFnMut() -> Result<Option<T>, ClientError>,
) -> Result<T, Failure> {
    let mut reader = Reader {
        client,
        about,
        last: None,
        teller: Teller::default(),
    };
    let mut away_since: Option<Instant> = None;
    let mut connected_once = false;
    loop {
        let failure = match timeout(CONNECT_PATIENCE, client.events(reader.last)).await {
            Err(_) => super::no_answer(client.base(), "no answer in time"),
            Ok(Err(error @ ClientError::Refused(_))) if error.status() != Some(503) => return Err(error.into()),
            Ok(Err(error @ ClientError::Unexpected { .. })) if !connected_once => return Err(error.into()),
            Ok(Err(error)) => error.into(),
            Ok(Ok(stream)) => {
                connected_once = true;
                away_since = None;
                match reader.read(std::pin::pin!(stream), &mut seen, &mut look).await {
                    Ok(end) => return Ok(end),
                    Err(Gap::Final(failure)) => return Err(failure),
                    Err(Gap::Passing(failure)) => failure,
                }
            }
        };
        let since = *away_since.get_or_insert_with(Instant::now);
        if !connected_once || since.elapsed() > PATIENCE {
            return Err(failure);
        }
        reader
            .teller
            .say(format!("waiting: {}; it is tried again", failure.text));
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
    async fn read<T>(
        &mut self,
        mut stream: impl Stream<Item = Result<Feed, ClientError>> + Unpin,
        seen: &mut impl FnMut(&Event) -> Result<Option<()>, Failure>,
        look: &mut impl AsyncFnMut() -> Result<Option<T>, ClientError>,
    ) -> Result<T, Gap> {
        let mut worth_a_look = true;
        let mut patience = FIRST_LOOK;
        loop {
            if std::mem::take(&mut worth_a_look)
                && let Some(end) = look().await?
            {
                return Ok(end);
            }
            match timeout(patience, stream.next()).await {
                Err(_) => {
                    self.say_why().await?;
                    worth_a_look = true;
                    patience = LOOK_EVERY;
                }
                Ok(Some(Ok(Feed::Event(event)))) => {
                    if self.last.is_some_and(|last| event.seq <= last) {
                        continue;
                    }
                    self.last = Some(event.seq);
                    worth_a_look = seen(&event)?.is_some();
                }
                Ok(Some(Ok(Feed::Reset(seq)))) => {
                    self.last = Some(seq);
                    worth_a_look = true;
                }
                Ok(Some(Err(error))) => return Err(Gap::Passing(error.into())),
                Ok(None) => return Err(Gap::Passing(Failure::new("the daemon closed the event stream"))),
            }
        }
    }

    /// Nothing came for a while: says what keeps the end from coming.
    async fn say_why(&mut self) -> Result<(), ClientError> {
        let reason = match self.about {
            About::Told => None,
            About::Everything => Some(format!("waiting for what happens at {}", self.client.base())),
            About::One(subject) => waits::reason(self.client, subject.task, subject.node).await?,
        };
        match reason {
            Some(reason) => self.teller.say(reason),
            None => self.teller.forget(),
        }
        Ok(())
    }
}
