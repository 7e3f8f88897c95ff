//! The client: what a runner asks of the broker, of the result database and of the workers.

use std::{sync::Arc, time::Duration};

use onceover_limits::Limit;
use redis::Pipeline;
use tokio::sync::mpsc;

use super::{
    BrokerSettings, CeleryError, CeleryNews, MessageId, PushError, TaskResult, TaskSighting, TermSignal,
    TerminateReply, Whereabouts, WorkerSurvey,
    broadcast::{Answers, ask_workers, tell_workers},
    control::{ControlRequest, collect_reports, read_sightings, read_terminations},
    follow::{self, Subscribed},
    kombu::{check_size, message_id},
    names::KombuNames,
    redis_link::RedisLink,
    result::LARGEST_RESULT,
    search::{find_by_id, find_exactly, is_unacked},
    settings::{RedisEndpoint, ServerPlace},
};

/// Results whose sizes are asked for at a time.
const IDS_AT_A_TIME: usize = 500;
/// Bytes of results that are read at a time; a single larger one is read alone.
const BYTES_AT_A_TIME: usize = LARGEST_RESULT;

/// A client of one broker and its result database. Clones share their connections, which are made when they are first
/// needed and again when they broke; every call ends within some seconds.
#[derive(Clone)]
pub struct CeleryClient(Arc<ClientParts>);

struct ClientParts {
    broker: RedisLink,
    names: KombuNames,
    results: Option<(RedisLink, KombuNames)>,
}

impl CeleryClient {
    /// Makes a client, which connects at the first call.
    pub fn new(settings: &BrokerSettings) -> Self {
        let results = settings.results.as_ref().map(|endpoint| {
            let link = RedisLink::new("the result database", endpoint.clone());
            (link, names_at(endpoint))
        });
        Self(Arc::new(ClientParts {
            broker: RedisLink::new("the broker", settings.broker.clone()),
            names: names_at(&settings.broker),
            results,
        }))
    }

    /// Puts a message into its queue. It goes to the broker once: what is not known to have failed is not sent again.
    pub async fn push(&self, queue: &str, envelope: &[u8]) -> Result<(), PushError> {
        check_size("the message", envelope.len()).inspect_err(|_| Limit::WorkerMessage.reached())?;
        let mut push = redis::cmd("LPUSH");
        push.arg(self.0.names.queue(queue)).arg(envelope);
        let _length: u64 = self.0.broker.call("LPUSH", &push).await?;
        Ok(())
    }

    /// Takes a message out of its queue, so that no worker gets it. `false`: it is not there, a worker has or had it.
    pub async fn take_back(&self, queue: &str, envelope: &[u8]) -> Result<bool, CeleryError> {
        let lists = self.0.names.queue_lists(queue);
        let mut removals = redis::pipe();
        for list in &lists {
            add_removal(&mut removals, list, envelope);
        }
        let removed: Vec<u64> = self.0.broker.call_all("LREM", &removals).await?;
        if removed.iter().any(|removed| *removed > 0) {
            return Ok(true);
        }
        // A worker may have put it back with other bytes.
        let Some(id) = message_id(envelope) else {
            return Ok(false);
        };
        let Some(found) = find_by_id(&self.0.broker, &lists, &id).await? else {
            return Ok(false);
        };
        let mut removal = redis::pipe();
        add_removal(&mut removal, &lists[found.list], &found.bytes);
        let removed: Vec<u64> = self.0.broker.call_all("LREM", &removal).await?;
        Ok(removed.iter().any(|removed| *removed > 0))
    }

    /// Finds a message by what was pushed, then by its id in case a worker put it back with other bytes.
    pub async fn locate(&self, queue: &str, id: &MessageId, envelope: &[u8]) -> Result<Whereabouts, CeleryError> {
        let lists = self.0.names.queue_lists(queue);
        let (exactly, lengths) = find_exactly(&self.0.broker, &lists, envelope).await?;
        let found = if exactly.is_some() {
            exactly
        } else {
            let found = find_by_id(&self.0.broker, &lists, id).await?;
            found.map(|found| (found.list, found.before))
        };
        if let Some((list, before)) = found {
            let higher: u64 = lengths.iter().take(list).sum();
            return Ok(Whereabouts::Queued {
                position: higher + before,
            });
        }
        if is_unacked(&self.0.broker, &self.0.names.unacked(), id).await? {
            return Ok(Whereabouts::Unacked);
        }
        Ok(Whereabouts::Nowhere)
    }

    /// Counts the messages that wait in a queue. Workers hold some more that they have taken ahead.
    pub async fn depth(&self, queue: &str) -> Result<u64, CeleryError> {
        let mut lengths = redis::pipe();
        for list in self.0.names.queue_lists(queue) {
            lengths.cmd("LLEN").arg(list);
        }
        let lengths: Vec<u64> = self.0.broker.call_all("LLEN", &lengths).await?;
        Ok(lengths.iter().sum())
    }

    /// Reads the records of messages, in their order. None: nothing was written yet, or it has expired. A record that is
    /// too large or no JSON is `ResultState::Unreadable` and does not keep the others from being read.
    pub async fn results(&self, ids: &[MessageId]) -> Result<Vec<Option<TaskResult>>, CeleryError> {
        let (link, names) = self.0.results.as_ref().ok_or(CeleryError::NoResults)?;
        let mut results = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_A_TIME) {
            let mut rest = measure_results(link, names, ids).await?;
            while !rest.is_empty() {
                let later = rest.split_off(count_fitting(&rest));
                results.extend(read_results(link, &rest).await?);
                rest = later;
            }
        }
        Ok(results)
    }

    /// Has workers refuse a message when they come to it and, with a signal, end it where it runs. Workers keep that in
    /// memory alone: one that starts later runs the message all the same.
    pub async fn revoke(&self, id: &MessageId, signal: Option<TermSignal>) -> Result<(), CeleryError> {
        let request = ControlRequest::revoke(id, signal);
        tell_workers(&self.0.broker, &self.0.names, &request).await?;
        Ok(())
    }

    /// Does the same and waits for what workers reply. Nobody is heard from where no worker is connected, or all are
    /// mute.
    pub async fn terminate(
        &self,
        id: &MessageId,
        signal: TermSignal,
        timeout: Duration,
    ) -> Result<Vec<TerminateReply>, CeleryError> {
        let request = ControlRequest::revoke(id, Some(signal));
        let answers = ask_workers(&self.0.broker, &self.0.names, request, timeout).await?;
        Ok(read_terminations(id, &answers.replies))
    }

    /// Asks who there is, and counts who heard it and did not answer. The reports name no tasks.
    pub async fn survey(&self, timeout: Duration) -> Result<WorkerSurvey, CeleryError> {
        let (queues, stats) = tokio::join!(self.ask("active_queues", timeout), self.ask("stats", timeout));
        Ok(make_survey(&queues?, &stats?, &Answers::default()))
    }

    /// Asks the same, and which tasks workers know.
    pub async fn survey_with_tasks(&self, timeout: Duration) -> Result<WorkerSurvey, CeleryError> {
        let (queues, stats, registered) = tokio::join!(
            self.ask("active_queues", timeout),
            self.ask("stats", timeout),
            self.ask("registered", timeout)
        );
        Ok(make_survey(&queues?, &stats?, &registered?))
    }

    async fn ask(&self, method: &'static str, timeout: Duration) -> Result<Answers, CeleryError> {
        let request = ControlRequest::new(method, serde_json::json!({}));
        ask_workers(&self.0.broker, &self.0.names, request, timeout).await
    }

    /// Asks workers which of these messages they have. One that is busy in a `solo` pool does not answer.
    pub async fn query_tasks(&self, ids: &[MessageId], timeout: Duration) -> Result<Vec<TaskSighting>, CeleryError> {
        let request = ControlRequest::query_tasks(ids);
        let answers = ask_workers(&self.0.broker, &self.0.names, request, timeout).await?;
        Ok(read_sightings(&answers.replies))
    }

    /// Follows what workers publish until the receiver is dropped. The first news is `Reconnected`: from then on nothing
    /// is missed without another one. Subscribe before the first push.
    pub fn follow(&self) -> mpsc::Receiver<CeleryNews> {
        let parts = &self.0;
        let mut servers = vec![Subscribed {
            link: parts.broker.clone(),
            patterns: parts.names.event_patterns(),
            results: parts.names.clone(),
        }];
        if let Some((link, names)) = &parts.results {
            // Pub/sub ignores databases, so that one connection hears all of a server.
            if link.endpoint().is_same_server(parts.broker.endpoint()) {
                servers[0].patterns.extend(names.result_patterns());
                servers[0].results = names.clone();
            } else {
                servers.push(Subscribed {
                    link: link.clone(),
                    patterns: names.result_patterns(),
                    results: names.clone(),
                });
            }
        }
        follow::start(servers)
    }
}

fn names_at(endpoint: &RedisEndpoint) -> KombuNames {
    let is_sentinel = matches!(endpoint.place, ServerPlace::Sentinels { .. });
    KombuNames::new(&endpoint.key_prefix, endpoint.database, is_sentinel)
}

fn make_survey(queues: &Answers, stats: &Answers, registered: &Answers) -> WorkerSurvey {
    WorkerSurvey {
        reports: collect_reports(&queues.replies, &stats.replies, &registered.replies),
        connected: queues.connected,
        answered: queues.replies.len() as u64,
    }
}

fn add_removal(removals: &mut Pipeline, list: &str, message: &[u8]) {
    removals.cmd("LREM").arg(list).arg(1).arg(message);
}

/// The record of a message as it is stored.
struct StoredResult {
    id: MessageId,
    key: String,
    /// Zero: there is none.
    size: usize,
}

/// Finds out under which key each result is, and how large it is.
async fn measure_results(
    link: &RedisLink,
    names: &KombuNames,
    ids: &[MessageId],
) -> Result<Vec<StoredResult>, CeleryError> {
    let keys: Vec<Vec<String>> = ids.iter().map(|id| names.result_keys(id)).collect();
    let mut questions = redis::pipe();
    for key in keys.iter().flatten() {
        questions.cmd("STRLEN").arg(key);
    }
    let sizes: Vec<usize> = link.call_all("STRLEN", &questions).await?;
    let mut sizes = sizes.into_iter();
    let measured = ids.iter().zip(keys).map(|(id, keys)| {
        let stored = keys.into_iter().zip(sizes.by_ref()).max_by_key(|(_, size)| *size);
        let (key, size) = stored.unwrap_or_default();
        StoredResult { id: *id, key, size }
    });
    Ok(measured.collect())
}

/// Counts how many of the first results are read at once, at least one.
fn count_fitting(results: &[StoredResult]) -> usize {
    let mut bytes = 0_usize;
    let fitting = results.iter().take_while(|result| {
        bytes = bytes.saturating_add(result.size.min(LARGEST_RESULT));
        bytes <= BYTES_AT_A_TIME
    });
    fitting.count().max(1)
}

async fn read_results(link: &RedisLink, results: &[StoredResult]) -> Result<Vec<Option<TaskResult>>, CeleryError> {
    let mut questions = redis::pipe();
    for result in results {
        // Not GET: the record may have grown since its size was asked for.
        questions.cmd("GETRANGE").arg(&result.key).arg(0).arg(LARGEST_RESULT);
    }
    let records: Vec<Vec<u8>> = link.call_all("GETRANGE", &questions).await?;
    let read = results.iter().zip(records).map(|(result, record)| {
        // What does not exist is empty.
        if record.is_empty() {
            return None;
        }
        let id = &result.id;
        let size = record.len().max(result.size);
        Some(match check_size(&format!("the result of message {id}"), size) {
            Ok(()) => TaskResult::read(id, &record),
            Err(error) => TaskResult::unreadable(id, &error),
        })
    });
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(broker: &str, results: Option<&str>) -> CeleryClient {
        let settings = BrokerSettings::parse(broker, results).expect("both can be used");
        CeleryClient::new(&settings)
    }

    #[test]
    fn results_are_read_in_bounded_bites_and_a_large_one_alone() {
        let sizes = |sizes: &[usize]| -> Vec<StoredResult> {
            let stored = sizes.iter().map(|size| StoredResult {
                id: MessageId::generate(),
                key: String::new(),
                size: *size,
            });
            stored.collect()
        };
        let half = BYTES_AT_A_TIME / 2;
        assert_eq!(count_fitting(&sizes(&[half, half, 1])), 2);
        assert_eq!(count_fitting(&sizes(&[BYTES_AT_A_TIME * 9, 1])), 1);
        assert_eq!(count_fitting(&sizes(&[0, 0, 0])), 3);
    }

    #[test]
    fn keys_take_the_prefix_and_channels_the_database_of_their_url() {
        let client = client(
            "redis://h/2?global_keyprefix=a:",
            Some("redis://h/3?global_keyprefix=b:"),
        );
        assert_eq!(client.0.names.control_channels(), ["a:/2.celery.pidbox"]);
        let (_, results) = client.0.results.as_ref().expect("results are set");
        assert_eq!(
            results.result_patterns(),
            ["b:_celery-task-meta-*", "b:celery-task-meta-*"]
        );
    }

    #[tokio::test]
    async fn what_was_not_sent_is_known_not_to_be_there() {
        let settings = BrokerSettings::parse("redis://127.0.0.1:1/0", None).expect("it can be used");
        let client = CeleryClient::new(&settings);
        let refused = client.push("q", b"{}").await;
        assert!(matches!(refused, Err(PushError::NotSent(_))), "{refused:?}");
        let large = vec![b' '; crate::LARGEST_MESSAGE + 1];
        let before = Limit::WorkerMessage.times_reached();
        let refused = client.push("q", &large).await;
        assert!(
            matches!(refused, Err(PushError::NotSent(CeleryError::TooLarge { .. }))),
            "{refused:?}"
        );
        assert!(Limit::WorkerMessage.times_reached() > before);
        assert_eq!(client.results(&[]).await, Err(CeleryError::NoResults));
    }
}
