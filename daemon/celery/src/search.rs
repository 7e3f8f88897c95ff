//! Where a message is: in one of the lists of its queue, taken and not acknowledged, or nowhere.

use onceover_limits::Limit;

use super::{
    CeleryError, MessageId,
    kombu::{is_message_with_id, is_unacked_with_id},
    redis_link::RedisLink,
};

/// The most messages of a queue that are searched for one that a worker may have written again, and the most that were
/// taken and not acknowledged.
pub const MOST_SEARCHED: usize = 10_000;

/// Messages that are read at a time: each may be some megabytes large.
const AT_A_TIME: usize = 20;
/// How far the next read is from the last one. They overlap, since workers take messages between the two.
const STEP: usize = AT_A_TIME / 2;

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In its queue, and this many messages are taken before it.
    Queued { position: u64 },
    /// A worker has taken it and not acknowledged it. The entry of a worker that was killed stays until the message is
    /// delivered again.
    Unacked,
    /// Neither. With early acknowledgement that is so as soon as it runs. A message on its way from one to the other is
    /// nowhere for a moment, so that only the second such answer counts.
    Nowhere,
}

/// A message in one of the lists of its queue.
pub(crate) struct FoundMessage {
    /// The list, as it stands in the order of lists.
    pub(crate) list: usize,
    /// Messages of that list that are taken before it.
    pub(crate) before: u64,
    /// The message as it is there now.
    pub(crate) bytes: Vec<u8>,
}

/// Finds exactly these bytes. The answer is the list and how many of it are taken before, and the lengths of all lists.
pub(crate) async fn find_exactly(
    broker: &RedisLink,
    lists: &[String],
    envelope: &[u8],
) -> Result<(Option<(usize, u64)>, Vec<u64>), CeleryError> {
    let mut questions = redis::pipe();
    questions.atomic();
    for list in lists {
        questions.cmd("LLEN").arg(list);
        questions.cmd("LPOS").arg(list).arg(envelope);
    }
    let answers: Vec<Option<u64>> = broker.call_all("LPOS", &questions).await?;
    let pairs = answers.chunks_exact(2);
    let lengths: Vec<u64> = pairs.clone().map(|pair| pair[0].unwrap_or_default()).collect();
    // Lists are taken from at their end, and counted from their beginning.
    let found = pairs.enumerate().find_map(|(list, pair)| {
        let place = pair[1]?;
        Some((list, pair[0].unwrap_or_default().saturating_sub(place + 1)))
    });
    Ok((found, lengths))
}

/// Finds a message by its id, for a worker that puts one back writes it with other bytes.
pub(crate) async fn find_by_id(
    broker: &RedisLink,
    lists: &[String],
    id: &MessageId,
) -> Result<Option<FoundMessage>, CeleryError> {
    let mut searched = 0;
    for (list, key) in lists.iter().enumerate() {
        let mut before = 0;
        loop {
            let messages = read_from_end(broker, key, before).await?;
            let place = messages.iter().rposition(|message| is_message_with_id(message, id));
            if let Some(place) = place {
                let after = messages.len() - 1 - place;
                return Ok(messages.into_iter().nth(place).map(|bytes| FoundMessage {
                    list,
                    before: (before + after) as u64,
                    bytes,
                }));
            }
            if messages.len() < AT_A_TIME {
                break;
            }
            searched += STEP;
            before += STEP;
            if searched >= MOST_SEARCHED {
                return Err(too_long(key));
            }
        }
    }
    Ok(None)
}

/// Reads the next messages of a list beyond those that are taken before them.
async fn read_from_end(broker: &RedisLink, list: &str, before: usize) -> Result<Vec<Vec<u8>>, CeleryError> {
    let mut range = redis::cmd("LRANGE");
    range
        .arg(list)
        .arg(format!("-{}", before + AT_A_TIME))
        .arg(format!("-{}", before + 1));
    broker.call("LRANGE", &range).await
}

/// Says whether a message was taken and not acknowledged. The hash holds those of all queues of the database.
pub(crate) async fn is_unacked(broker: &RedisLink, hash: &str, id: &MessageId) -> Result<bool, CeleryError> {
    let mut cursor = 0_u64;
    let mut searched = 0;
    loop {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(hash).arg(cursor).arg("COUNT").arg(AT_A_TIME);
        let (next, entries): (u64, Vec<Vec<u8>>) = broker.call("HSCAN", &scan).await?;
        // Keys and values take turns.
        if entries
            .iter()
            .skip(1)
            .step_by(2)
            .any(|entry| is_unacked_with_id(entry, id))
        {
            return Ok(true);
        }
        searched += entries.len() / 2;
        if next == 0 {
            return Ok(false);
        }
        if searched >= MOST_SEARCHED {
            return Err(too_long(hash));
        }
        cursor = next;
    }
}

fn too_long(what: &str) -> CeleryError {
    Limit::SearchedMessages.reached();
    CeleryError::TooLong {
        what: format!("{what:?} of the broker"),
        limit: MOST_SEARCHED,
    }
}
