//! Questions to all workers: published once, answered into a list that exists for that question alone.

use std::time::Duration;

use redis::Pipeline;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    CeleryError,
    control::{ControlReply, ControlRequest, ReplyAddress},
    names::{KombuNames, reply_binding},
    redis_link::RedisLink,
};

/// The first time between two reads of the list; each later one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// Replies that are read at a time.
const AT_A_TIME: usize = 64;
/// The most replies that one question takes.
const MOST_REPLIES: usize = 10_000;

/// What came of a question.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) replies: Vec<ControlReply>,
    /// How many heard it.
    pub(crate) connected: u64,
}

/// Publishes a request that is not replied to. Returns how many heard it.
pub(crate) async fn tell_workers(
    broker: &RedisLink,
    names: &KombuNames,
    request: &ControlRequest,
) -> Result<u64, CeleryError> {
    publish(broker, names, redis::pipe(), &request.to_message(None)).await
}

/// Sends commands whose answers are ignored, and a request after them. Returns how many heard it.
async fn publish(
    broker: &RedisLink,
    names: &KombuNames,
    mut commands: Pipeline,
    request: &str,
) -> Result<u64, CeleryError> {
    for channel in names.control_channels() {
        commands.cmd("PUBLISH").arg(channel).arg(request);
    }
    let heard: Vec<u64> = broker.call_all("PUBLISH", &commands).await?;
    Ok(heard.iter().sum())
}

/// Asks all workers and waits until as many have replied as heard the question, at most for `timeout`. The list of replies
/// is removed also when the caller does not wait any more, which is why a task of the runtime does it.
pub(crate) async fn ask_workers(
    broker: &RedisLink,
    names: &KombuNames,
    request: ControlRequest,
    timeout: Duration,
) -> Result<Answers, CeleryError> {
    let (broker, names) = (broker.clone(), names.clone());
    let asking = tokio::spawn(async move {
        let address = ReplyAddress {
            asker: Uuid::new_v4().to_string(),
            ticket: Uuid::new_v4().to_string(),
        };
        let answers = publish_and_collect(&broker, &names, &request, &address, timeout).await;
        remove_list(&broker, &names, &address).await;
        answers
    });
    match asking.await {
        Ok(answers) => answers,
        Err(error) => Err(CeleryError::Interrupted(error.to_string())),
    }
}

async fn publish_and_collect(
    broker: &RedisLink,
    names: &KombuNames,
    request: &ControlRequest,
    address: &ReplyAddress,
    timeout: Duration,
) -> Result<Answers, CeleryError> {
    let until = Instant::now() + timeout;
    let mut commands = redis::pipe();
    commands
        .cmd("SADD")
        .arg(names.reply_bindings())
        .arg(reply_binding(&address.asker))
        .ignore();
    let mut answers = Answers {
        replies: Vec::new(),
        connected: publish(broker, names, commands, &request.to_message(Some(address))).await?,
    };
    let list = names.reply_list(&address.asker);
    let mut wait = FIRST_WAIT;
    while (answers.replies.len() as u64) < answers.connected && answers.replies.len() < MOST_REPLIES {
        let items = take_replies(broker, &list).await?;
        if !items.is_empty() {
            let read = items.iter().filter_map(|item| read_reply(item, &address.ticket));
            answers.replies.extend(read);
            wait = FIRST_WAIT;
            continue;
        }
        if Instant::now() >= until {
            break;
        }
        sleep_until((Instant::now() + wait).min(until)).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    Ok(answers)
}

async fn take_replies(broker: &RedisLink, list: &str) -> Result<Vec<Vec<u8>>, CeleryError> {
    let mut take = redis::cmd("RPOP");
    take.arg(list).arg(AT_A_TIME);
    let items: Option<Vec<Vec<u8>>> = broker.call("RPOP", &take).await?;
    Ok(items.unwrap_or_default())
}

/// A reply that cannot be read counts as none: the worker is mute for us.
fn read_reply(item: &[u8], ticket: &str) -> Option<ControlReply> {
    match ControlReply::read(item, ticket) {
        Ok(reply) => reply,
        Err(error) => {
            tracing::warn!(%error, "a worker's reply is passed over");
            None
        }
    }
}

/// Removes the list and its binding. A worker that replies later finds no binding and drops the reply.
async fn remove_list(broker: &RedisLink, names: &KombuNames, address: &ReplyAddress) {
    let mut commands = redis::pipe();
    commands
        .cmd("SREM")
        .arg(names.reply_bindings())
        .arg(reply_binding(&address.asker));
    commands.cmd("DEL").arg(names.reply_list(&address.asker));
    if let Err(error) = broker.call_all::<Vec<u64>>("DEL", &commands).await {
        tracing::warn!(%error, "a list of replies could not be removed from the broker");
    }
}
