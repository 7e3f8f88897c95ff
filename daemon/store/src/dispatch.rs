//! Messages that were sent to Celery workers: journalled before they are sent, found again by a later owner of the run,
//! and forgotten once they have ended. And how a run that waits for workers goes to another queue.

use std::{collections::HashSet, time::Duration};

use onceover_limits::Limit;
use onceover_types::{NodeName, RunId, RunnerKind, StageState, TaskId, Timestamp};
use onceover_wire::StageOnWorker;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    args::{Json, SHORT_ERROR, ShortJson, script_call, short_json},
    disk::DiskUsage,
    reply::{convert_value, parse_text, reply_struct},
    runs::Fence,
};

/// Where the journal of messages lies. Lua's `DISPATCHES` says the same.
const DISPATCHES: &str = "onceover:dispatches";
/// The fields of a record by which its message is judged.
const STAGE_FIELDS: [&str; 3] = ["state", "owner", "dispatch"];
/// Bytes of what is noted of a worker that goes on.
const SHORT_NOTE: usize = 160;
/// Messages that one step of a scan reads.
const SCAN_CHUNK: usize = 100;
/// Waiting stages that one step of [`Store::reroute`] reads.
const REROUTE_CHUNK: i64 = 100;

script_call! {
    DispatchCall<'a>: DISPATCH {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        owner: &'a str,
        message: &'a str,
        entry: Json<'a, Dispatch>,
    }
}

script_call! {
    DispatchNoteCall<'a>: DISPATCH_NOTE {
        task: &'a TaskId,
        name: &'a NodeName,
        message: &'a str,
        worker: Option<&'a str>,
    }
}

script_call! {
    DispatchLingerCall<'a>: DISPATCH_LINGER {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        message: &'a str,
        text: ShortJson<'a>,
    }
}

script_call! {
    DispatchListCall<'a>: DISPATCH_LIST {
        queue: &'a str,
        most: u32,
    }
}

script_call! {
    DispatchForgetCall<'a>: DISPATCH_FORGET {
        task: &'a TaskId,
        name: &'a NodeName,
        message: &'a str,
    }
}

script_call! {
    RequeueCall<'a>: REQUEUE {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        owner: &'a str,
        queue: &'a str,
        to: &'a str,
        runner: RunnerKind,
        how: &'a str,
        measured: &'a DiskUsage,
    }
}

script_call! {
    RerouteCall<'a>: REROUTE {
        queue: &'a str,
        nodes: Json<'a, [DispatchTarget]>,
        waited_ms: Duration,
        from: i64,
        count: i64,
    }
}

reply_struct! {
    SentReply {
        task: String,
        node: String,
        run: String,
        attempt: String,
        message: String,
        sent: String,
        worker: String,
    }
}

reply_struct! {
    RerouteReply {
        moved: u64,
        next: i64,
    }
}

/// A message to Celery workers, as the journal has it: what is needed to find it, to take it back and to revoke it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Its id, which is that of the Celery task.
    pub message: String,
    pub task: TaskId,
    pub node: NodeName,
    pub run: RunId,
    pub attempt: u32,
    /// The service of the configuration whose workers it was sent to.
    pub service: String,
    /// The queue of the workers.
    pub queue: String,
    /// The message exactly as it was sent.
    pub envelope: String,
    /// When it was journalled, in milliseconds since 1970.
    pub sent_ms: i64,
}

impl Dispatch {
    /// The attempt that it was sent for, as [`Store::list_held`] names it.
    pub fn attempt_name(&self) -> String {
        format!("{}|{}|{}|{}", self.task, self.node, self.run, self.attempt)
    }
}

/// The stage whose attempt a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchedStage {
    pub state: StageState,
    /// Who owns the run; none while it waits.
    pub owner: Option<String>,
}

/// Where stages of a node go that are not run by workers: name, queue and runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DispatchTarget(pub NodeName, pub String, pub RunnerKind);

/// Where a run goes that its owner gives back, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequeuedRun {
    pub queue: String,
    pub runner: RunnerKind,
    /// How the attempt ended.
    pub how: String,
}

impl Store {
    /// Journals a message before it is sent. Returns `false` if the run has lost its stage or has another message.
    pub async fn journal_dispatch(&self, fence: &Fence, dispatch: &Dispatch) -> Result<bool, StoreError> {
        let call = DispatchCall {
            task: &fence.task,
            name: &fence.node,
            run: &fence.run,
            attempt: fence.attempt,
            owner: &fence.owner,
            message: &dispatch.message,
            entry: Json(dispatch),
        };
        Ok(self.call::<u64>(call.prepare(self)).await? == 1)
    }

    /// Notes that a message is in its queue, and which worker has it, where that is known.
    pub async fn note_dispatch(&self, dispatch: &Dispatch, worker: Option<&str>) -> Result<bool, StoreError> {
        let call = DispatchNoteCall {
            task: &dispatch.task,
            name: &dispatch.node,
            message: &dispatch.message,
            worker,
        };
        Ok(self.call::<u64>(call.prepare(self)).await? == 1)
    }

    /// Whether it was noted that a message is in its queue. One of which it was not may be there all the same.
    pub async fn was_pushed(&self, dispatch: &Dispatch) -> Result<bool, StoreError> {
        let mut redis = self.redis.clone();
        let key = stage_key(&dispatch.task, &dispatch.node);
        let pushed: Option<String> = self.limited(redis.hget(key, "pushed")).await?;
        Ok(pushed.as_deref() == Some(dispatch.message.as_str()))
    }

    /// Notes in a stage whose run has ended that a worker goes on with the message. That is shown until the message is
    /// forgotten. Returns `false` if the stage has another run by now.
    pub async fn note_lingering(&self, dispatch: &Dispatch, text: &str) -> Result<bool, StoreError> {
        let call = DispatchLingerCall {
            task: &dispatch.task,
            name: &dispatch.node,
            run: &dispatch.run,
            attempt: dispatch.attempt,
            message: &dispatch.message,
            text: ShortJson(text, SHORT_NOTE),
        };
        Ok(self.call::<u64>(call.prepare(self)).await? == 1)
    }

    /// Lists the stages of a queue that were sent to workers and have not ended, of all daemons, in the order in which they
    /// were sent; `most` of them.
    pub async fn list_sent(&self, queue: &str, most: u32) -> Result<Vec<StageOnWorker>, StoreError> {
        let call = DispatchListCall {
            queue,
            // One more shows that there are others.
            most: most.saturating_add(1),
        };
        let mut replies: Vec<SentReply> = self.call(call.prepare(self)).await?;
        if replies.len() > most as usize {
            Limit::StagesOnWorkers.reached();
            replies.truncate(most as usize);
        }
        // A name that cannot be read is of a damaged record, which `onceoverd check --repair` sets aside.
        let mut stages: Vec<_> = replies.iter().filter_map(|reply| read_sent(reply).ok()).collect();
        // The script has those that run by the ends of their leases, which every heartbeat changes.
        stages.sort_by(|a, b| (a.sent_at, &a.message_id).cmp(&(b.sent_at, &b.message_id)));
        Ok(stages)
    }

    /// Lists the attempts that hold a slot of a queue, also those whose stage is no longer theirs: their owners are still
    /// ending them.
    pub async fn list_held(&self, queue: &str) -> Result<HashSet<String>, StoreError> {
        let mut redis = self.redis.clone();
        let key = format!("onceover:held:{queue}");
        let members: Vec<String> = self.limited(redis.zrange(key, 0, -1)).await?;
        // The owner stands last, and may have any characters.
        let names = members.iter().map(|member| {
            let parts: Vec<_> = member.splitn(5, '|').take(4).collect();
            parts.join("|")
        });
        Ok(names.collect())
    }

    /// Reads a message of the journal.
    pub async fn find_dispatch(&self, message: &str) -> Result<Option<Dispatch>, StoreError> {
        let mut redis = self.redis.clone();
        let entry: Option<String> = self.limited(redis.hget(DISPATCHES, message)).await?;
        Ok(entry.and_then(|entry| read_entry(message, &entry)))
    }

    /// Lists the messages of the journal, each with the stage whose attempt it is; none where that is over.
    pub async fn list_dispatches(&self) -> Result<Vec<(Dispatch, Option<DispatchedStage>)>, StoreError> {
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(DISPATCHES).arg(cursor).arg("COUNT").arg(SCAN_CHUNK);
            let mut redis = self.redis.clone();
            let (next, flat): (u64, Vec<String>) = self.limited(command.query_async(&mut redis)).await?;
            let entries = flat.chunks_exact(2);
            let some: Vec<_> = entries.filter_map(|pair| read_entry(&pair[0], &pair[1])).collect();
            all.extend(self.read_dispatched_stages(some).await?);
            cursor = next;
            if cursor == 0 {
                return Ok(all);
            }
        }
    }

    /// Reads the stage of a message; none where the attempt that it was sent for is over.
    pub async fn read_dispatched_stage(
        &self,
        task: &TaskId,
        node: &NodeName,
        message: &str,
    ) -> Result<Option<DispatchedStage>, StoreError> {
        let mut redis = self.redis.clone();
        let fields = redis.hmget(stage_key(task, node), &STAGE_FIELDS);
        let values: Vec<Option<String>> = self.limited(fields).await?;
        Ok(find_stage(&values, message))
    }

    async fn read_dispatched_stages(
        &self,
        dispatches: Vec<Dispatch>,
    ) -> Result<Vec<(Dispatch, Option<DispatchedStage>)>, StoreError> {
        let mut pipe = redis::pipe();
        for dispatch in &dispatches {
            let key = stage_key(&dispatch.task, &dispatch.node);
            pipe.cmd("HMGET").arg(key).arg(&STAGE_FIELDS[..]);
        }
        let answers = self.send_plain(pipe).await?;
        let read = dispatches.into_iter().zip(answers).filter_map(|(dispatch, answer)| {
            // What is no record is repaired by `onceoverd check --repair`; until then the message is left alone.
            let values: Vec<Option<String>> = convert_value(answer.ok()?).ok()?;
            let stage = find_stage(&values, &dispatch.message);
            Some((dispatch, stage))
        });
        Ok(read.collect())
    }

    /// Forgets a message that has ended or is nowhere. One that a record names stays.
    pub async fn forget_dispatch(&self, dispatch: &Dispatch) -> Result<bool, StoreError> {
        let call = DispatchForgetCall {
            task: &dispatch.task,
            name: &dispatch.node,
            message: &dispatch.message,
        };
        Ok(self.call::<u64>(call.prepare(self)).await? == 1)
    }

    /// Gives a run back to a queue, where it waits as the next attempt. Returns `false` if it had lost its stage.
    pub async fn requeue(&self, fence: &Fence, to: &RequeuedRun, measured: &DiskUsage) -> Result<bool, StoreError> {
        // The script puts it between quotes.
        let quoted = short_json(&to.how, SHORT_ERROR);
        let how = quoted.trim_start_matches('"');
        let how = how.strip_suffix('"').unwrap_or(how);
        let call = RequeueCall {
            task: &fence.task,
            name: &fence.node,
            run: &fence.run,
            attempt: fence.attempt,
            owner: &fence.owner,
            queue: &fence.queue,
            to: &to.queue,
            runner: to.runner,
            how,
            measured,
        };
        Ok(self.call::<String>(call.prepare(self)).await? == "ok")
    }

    /// Moves stages that have waited in a queue of workers for so long to queues whose runs this daemon makes. Returns how
    /// many were moved.
    pub async fn reroute(&self, queue: &str, nodes: &[DispatchTarget], waited: Duration) -> Result<u64, StoreError> {
        let (mut from, mut moved) = (0, 0);
        while from >= 0 {
            let call = RerouteCall {
                queue,
                nodes: Json(nodes),
                waited_ms: waited,
                from,
                count: REROUTE_CHUNK,
            };
            let reply: RerouteReply = self.call(call.prepare(self)).await?;
            moved += reply.moved;
            from = reply.next;
        }
        Ok(moved)
    }
}

fn stage_key(task: &TaskId, node: &NodeName) -> String {
    format!("onceover:stage:{task}:{node}")
}

fn read_sent(reply: &SentReply) -> Result<StageOnWorker, StoreError> {
    Ok(StageOnWorker {
        task_id: parse_text(&reply.task)?,
        task_name: parse_text(&reply.node)?,
        run_id: parse_text(&reply.run)?,
        attempt: parse_text(&reply.attempt)?,
        message_id: reply.message.clone(),
        hostname: Some(reply.worker.clone()).filter(|worker| !worker.is_empty()),
        sent_at: Timestamp::from_millis(parse_text(&reply.sent)?),
    })
}

/// Reads an entry of the journal. One that cannot be read is left where it is.
fn read_entry(message: &str, entry: &str) -> Option<Dispatch> {
    let read = serde_json::from_str(entry);
    read.inspect_err(|error| tracing::error!(%error, message, "an entry of the journal of messages cannot be read"))
        .ok()
}

/// The stage of a record, of which these are [`STAGE_FIELDS`], if its attempt in flight has this message.
fn find_stage(values: &[Option<String>], message: &str) -> Option<DispatchedStage> {
    let [Some(state), owner, Some(dispatch)] = values else {
        return None;
    };
    let state: StageState = state.parse().ok()?;
    (dispatch == message && state.in_flight()).then(|| DispatchedStage {
        state,
        owner: owner.clone(),
    })
}
