//! Hits of results that were reused before: what most requests are. Many of them go out as one call, in which each is
//! decided and counted for itself, and equal ones are decided once.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};
use redis::Value;

use super::{
    ReuseRule, Store, StoreError,
    args::{IgnoredHashes, ScriptArgs, script_call},
    decide::{ReuseQuery, ReusedResult, parse_counted_hit},
    record::TaskRecords,
    reply::{TaggedReply, convert_value, unexpected},
};

script_call! {
    HitCall: HIT {
        /// How many requests follow, if it is not one.
        requests: Option<usize>,
    }
}

/// A request that a result may answer which was reused before, and whose files were checked. It has no callback, no
/// idempotency key and no pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HitRequest {
    task: TaskId,
    node: NodeName,
    mode: ReuseRule,
    fingerprint: String,
    files: Option<String>,
    input_public: String,
    result: Arc<ReusedResult>,
}

impl HitRequest {
    /// Makes the request of a question whose input is shown as `input_public`.
    pub fn new(question: &ReuseQuery<'_>, input_public: &str, result: &Arc<ReusedResult>) -> Self {
        Self {
            task: question.task.clone(),
            node: question.node.clone(),
            mode: question.mode,
            fingerprint: question.fingerprint.to_owned(),
            files: question.files.map(ToOwned::to_owned),
            input_public: input_public.to_owned(),
            result: Arc::clone(result),
        }
    }

    /// The stage that is asked for.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The result that may answer it.
    pub fn result(&self) -> &ReusedResult {
        &self.result
    }

    /// Returns the bytes of its texts.
    pub fn text_size(&self) -> usize {
        let files = self.files.as_ref().map_or(0, String::len);
        let names = self.task.as_str().len() + self.node.as_str().len();
        names + self.fingerprint.len() + files + self.input_public.len() + self.result.text_size()
    }

    /// Adds what the script takes of the request, which is asked so many times.
    fn add_arguments<'a>(&'a self, count: usize, args: ScriptArgs<'a>) -> ScriptArgs<'a> {
        // The script takes `task` as the beginning of the next request.
        args.with("task", &self.task)
            .with("name", &self.node)
            .with("count", (count > 1).then_some(count))
            .with("mode", self.mode)
            .with("fp", self.fingerprint.as_str())
            .with("in_files", self.files.as_deref())
            .with("verified", self.result.token.as_str())
            .with("generation", self.result.generation.as_str())
            .with("summary", self.result.summary.as_str())
            .with("ignore", IgnoredHashes(&[]))
            .with("input_pub", self.input_public.as_str())
            .with("callback", None::<&str>)
    }
}

/// A hit of a result that was reused before, with the task as it was right after it. Hits of one call share what was
/// read of a task.
#[derive(Debug, Clone)]
pub struct RepeatedHit {
    /// None: not known.
    pub input_changed: Option<bool>,
    pub records: Arc<TaskRecords>,
}

/// Requests that are decided together: each different one once, and each task read once.
struct HitBatch<'a> {
    /// The different requests, and how often each is asked.
    asked: Vec<(&'a HitRequest, usize)>,
    /// The place in `asked` of each request.
    places: Vec<usize>,
    tasks: Vec<&'a TaskId>,
}

impl<'a> HitBatch<'a> {
    fn new(requests: &'a [HitRequest]) -> Self {
        let mut batch = Self {
            asked: Vec::new(),
            places: Vec::with_capacity(requests.len()),
            tasks: Vec::new(),
        };
        for request in requests {
            let known = batch.asked.iter().position(|(asked, _)| *asked == request);
            let place = known.unwrap_or_else(|| {
                batch.asked.push((request, 0));
                batch.asked.len() - 1
            });
            batch.asked[place].1 += 1;
            batch.places.push(place);
            if !batch.tasks.contains(&&request.task) {
                batch.tasks.push(&request.task);
            }
        }
        batch
    }

    /// Reads what the script has answered of each different request.
    fn parse_answers(
        &self,
        replies: Vec<Value>,
        read: Vec<Result<TaskRecords, StoreError>>,
    ) -> Vec<Result<Option<RepeatedHit>, StoreError>> {
        let read: Vec<_> = read.into_iter().map(|records| records.map(Arc::new)).collect();
        let mut replies = replies.into_iter();
        let answers = self.asked.iter().map(|(request, _)| {
            let records = self.tasks.iter().position(|task| **task == request.task);
            let records = records.and_then(|place| read.get(place));
            match (replies.next(), records) {
                (Some(reply), Some(records)) => parse_answer(reply, records),
                _ => Err(unexpected("the hit script answered fewer requests than it was sent")),
            }
        });
        answers.collect()
    }
}

fn parse_answer(
    reply: Value,
    records: &Result<Arc<TaskRecords>, StoreError>,
) -> Result<Option<RepeatedHit>, StoreError> {
    let mut reply = TaggedReply::new("hit", convert_value(reply)?)?;
    match reply.kind.as_str() {
        "hit" => Ok(Some(RepeatedHit {
            input_changed: parse_counted_hit(&mut reply)?,
            records: records.clone()?,
        })),
        "other" => Ok(None),
        "failed" => Err(StoreError::from_script_text(&reply.next_value::<String>()?)),
        _ => Err(reply.unknown_kind()),
    }
}

impl Store {
    /// Answers requests with results that were reused before, all in one call, and reads their tasks in the same step.
    /// Each is a hit for itself, which another one that fails does not stop. Answers `None`, with nothing written,
    /// where another result stands or more has to be decided: that is for [`Store::submit`]. An error is that of the
    /// whole call.
    pub async fn hit_each(
        &self,
        requests: &[HitRequest],
    ) -> Result<Vec<Result<Option<RepeatedHit>, StoreError>>, StoreError> {
        let batch = HitBatch::new(requests);
        let mut call = HitCall {
            requests: (batch.asked.len() != 1).then_some(batch.asked.len()),
        }
        .prepare(self);
        for (request, count) in &batch.asked {
            call.args = request.add_arguments(*count, call.args);
        }
        let answers = match self.call_and_read_each::<Vec<Value>>(call, &batch.tasks).await {
            Ok((replies, read)) => batch.parse_answers(replies, read),
            Err(StoreError::Unexpected(_)) => batch.asked.iter().map(|_| Ok(None)).collect(),
            Err(error) => return Err(error),
        };
        let answers = answers.into_iter().map(|answer| match answer {
            // The record is damaged; `submit` names how.
            Err(StoreError::Unexpected(_)) => Ok(None),
            answer => answer,
        });
        let answers: Vec<_> = answers.collect();
        Ok(batch.places.iter().map(|place| answers[*place].clone()).collect())
    }
}
