//! How a task is read: one transaction of plain commands, whose replies become records here. Its list of stages is read
//! in the same transaction as the stages that were asked for; where it names others, or where something lies under a
//! key that another worker may have written, the read is repeated with what that takes. So a view is always of one
//! moment, and a task that is remembered (`task_memory`) costs one round trip. A read writes nothing. A script can be
//! called in the same transaction, which then reads each task that the call is about, once.

use onceover_types::{NodeName, TaskId};
use redis::{ErrorKind, FromRedisValue, Pipeline, RedisResult, ServerErrorKind, Value};

use super::{
    Store, StoreError,
    args::{CatalogNames, PreparedCall},
    record::{ForeignJson, TaskRecords},
    reply::{convert_value, unexpected},
    task_memory::{KnownTask, Recalled},
    task_snapshot::{JsonPart, KEYS_PER_COMMAND, KeySpelling, ReadPlan, ReadReplies, TaskSnapshot, is_settled},
};

/// Rounds of one read: a task that changes faster cannot be read.
const ROUNDS: usize = 10;

/// What one transaction has come to.
enum ReadStep {
    Done(TaskRecords),
    /// The read is repeated with this.
    More(ReadPlan),
}

/// One read of a task, from what is remembered of it to its view.
struct TaskReading<'a> {
    store: &'a Store,
    task: &'a TaskId,
    recalled: Recalled,
}

impl<'a> TaskReading<'a> {
    fn begin(store: &'a Store, task: &'a TaskId) -> Self {
        Self {
            store,
            task,
            recalled: store.tasks.recall(task),
        }
    }

    fn names(&self) -> &CatalogNames {
        &self.store.names
    }

    /// What is remembered of the keys of other workers; none where all of them have to be compared.
    fn compared(&self) -> Option<&KnownTask> {
        let known = self.recalled.known.as_deref();
        known.filter(|_| self.recalled.is_compared)
    }

    /// Plans the first transaction: of a task that is not remembered, it reads which stages there are.
    fn first_plan(&self) -> ReadPlan {
        match &self.recalled.known {
            None => ReadPlan::default(),
            Some(known) if self.recalled.is_compared => self.plan_stages(&known.stages, &[]),
            Some(known) => self.plan_stages(&known.stages, &known.marks.keys().collect::<Vec<_>>()),
        }
    }

    /// Plans to read these stages, and what will probably be needed of the keys that other workers may have written.
    /// `held` are the stages that may have a record or a note.
    fn plan_stages(&self, stages: &[NodeName], held: &[&NodeName]) -> ReadPlan {
        let mut plan = ReadPlan::default();
        plan.stages = stages.to_vec();
        let nodes: Vec<&NodeName> = match self.compared() {
            Some(known) => {
                let is_new = |node: &&NodeName| known.mark(node).is_none() && !known.stages.contains(node);
                let due = known.found.iter().chain(&self.recalled.changed);
                due.chain(held.iter().copied().filter(is_new)).collect()
            }
            None => {
                let others = held.iter().copied().filter(|node| !self.names().contains(node));
                self.names().list().iter().chain(others).collect()
            }
        };
        for node in nodes {
            let known = self.recalled.known.as_ref();
            let is_found = known.is_some_and(|known| known.found.contains(node));
            for spelling in KeySpelling::ALL {
                let may_be_ours = spelling == KeySpelling::Today && stages.contains(node);
                match (is_found, may_be_ours) {
                    (true, _) => plan.want(node, spelling, JsonPart::WholeWithExpiry),
                    (false, true) => plan.want_start(self.task, node),
                    (false, false) => plan.want(node, spelling, JsonPart::Whole),
                }
            }
        }
        plan
    }

    /// The nodes whose keys have to be compared, in the order of a view: those of the catalog, then others that are
    /// known.
    fn nodes_to_compare(&self, snapshot: &TaskSnapshot) -> Vec<NodeName> {
        let names = self.names();
        let is_known = |node: &NodeName| {
            let record = snapshot.records.get(node);
            record.is_some_and(|record| record.text("runner") == Some("foreign")) || snapshot.notes.contains_key(node)
        };
        let is_due = |node: &NodeName| snapshot.records.get(node).is_none_or(is_settled);
        let Some(known) = self.compared() else {
            let others = snapshot.held().filter(|node| !names.contains(node) && is_known(node));
            let all = names.list().iter().chain(others);
            return all.filter(|node| is_due(node)).cloned().collect();
        };
        let is_other = |node: &&NodeName| known.mark(node) != snapshot.mark(node);
        let others = known.marks.keys().chain(snapshot.held()).filter(is_other);
        let mut nodes: Vec<&NodeName> = Vec::new();
        for node in known.found.iter().chain(&self.recalled.changed).chain(others) {
            if !nodes.contains(&node) && is_due(node) && (names.contains(node) || is_known(node)) {
                nodes.push(node);
            }
        }
        nodes.sort_by_key(|node| names.position(node).unwrap_or(usize::MAX));
        nodes.into_iter().cloned().collect()
    }

    /// Reads what a transaction has found: a view, or what has to be read for one.
    fn evaluate(&self, plan: &ReadPlan, replies: &mut ReadReplies) -> Result<ReadStep, StoreError> {
        let mut snapshot = TaskSnapshot::parse(plan, replies)?;
        if snapshot.listed != plan.stages {
            let listed = &snapshot.listed;
            if listed.iter().any(|node| !plan.stages.contains(node)) {
                let held: Vec<_> = listed.iter().chain(snapshot.notes.keys()).collect();
                return Ok(ReadStep::More(self.plan_stages(listed, &held)));
            }
            // What was asked for and is not in the list is not a stage.
            snapshot.records.retain(|node, _| listed.contains(node));
        }
        let (mut foreign, mut more) = (Vec::new(), ReadPlan::default());
        let mut is_enough = true;
        for node in self.nodes_to_compare(&snapshot) {
            for spelling in KeySpelling::ALL {
                let key = (node.clone(), spelling);
                match snapshot.judge(self.task, &key) {
                    Ok(found) => {
                        let asked = snapshot.answers.get(&key).map_or(JsonPart::Whole, |answer| answer.part);
                        more.want(&node, spelling, asked);
                        foreign.extend(found.map(|json| (node.clone(), json)));
                    }
                    Err(part) => {
                        more.want(&node, spelling, part);
                        is_enough = false;
                    }
                }
            }
        }
        if !is_enough {
            more.stages.clone_from(&snapshot.listed);
            return Ok(ReadStep::More(more));
        }
        Ok(self.finish(snapshot, foreign))
    }

    /// Puts the view together, and remembers what the next read can go by.
    fn finish(&self, snapshot: TaskSnapshot, foreign: Vec<(NodeName, ForeignJson)>) -> ReadStep {
        let marks = snapshot
            .held()
            .filter_map(|node| Some((node.clone(), snapshot.mark(node)?)));
        let mut known = KnownTask {
            stages: snapshot.listed.clone(),
            marks: marks.collect(),
            found: foreign.iter().map(|(node, _)| node.clone()).collect(),
        };
        known.found.dedup();
        let is_right = |node: &NodeName| foreign.iter().any(|(name, json)| name == node && json.noted.is_some());
        let stale = snapshot.notes.keys().filter(|node| !is_right(node));
        let stale = stale.cloned().collect();
        let TaskSnapshot {
            task,
            listed,
            has_notes,
            mut records,
            ..
        } = snapshot;
        let stages = listed.iter().filter_map(|node| records.swap_remove_entry(node));
        let view = TaskRecords {
            task,
            stages: stages.collect(),
            foreign,
            order: if has_notes { listed.clone() } else { Vec::new() },
            stale,
        };
        // Of a task that is not known nothing is kept, or requests for tasks that do not exist would fill the memory.
        if view.is_empty() && !has_notes {
            self.store.tasks.forget(self.task);
        } else {
            self.store.tasks.remember(self.task, &self.recalled, known);
        }
        ReadStep::Done(view)
    }

    /// Reads on from `plan`, until the view is whole.
    async fn complete(&self, mut plan: ReadPlan) -> Result<TaskRecords, StoreError> {
        for _ in 0..ROUNDS {
            let replies = self.store.send_read(&plan, self.task).await?;
            match self.evaluate(&plan, &mut ReadReplies::from(replies))? {
                ReadStep::Done(records) => return Ok(records),
                ReadStep::More(more) => plan = more,
            }
        }
        let task = self.task;
        Err(StoreError::Unavailable(format!(
            "task {task} changed {ROUNDS} times while it was read"
        )))
    }
}

impl Store {
    /// Reads one task: its own stages and what other workers wrote (S2). The keys of every node of the catalog are
    /// compared, so something can be decided by it.
    pub async fn read(&self, task: &TaskId) -> Result<TaskRecords, StoreError> {
        let mut reading = TaskReading::begin(self, task);
        reading.recalled.is_compared = false;
        reading.complete(reading.first_plan()).await
    }

    /// Does the same for a view, which may miss what another worker wrote a moment ago: only keys that were written
    /// since the last comparison are compared, however many nodes the catalog has.
    pub async fn read_for_view(&self, task: &TaskId) -> Result<TaskRecords, StoreError> {
        let reading = TaskReading::begin(self, task);
        reading.complete(reading.first_plan()).await
    }

    /// Whether the task may have stages of other nodes: ours, or those of other workers under the names of the catalog. One
    /// round trip, and less to read than [`Store::read`] reads. What cannot be found out is `true`.
    pub async fn has_other_stages(&self, task: &TaskId, node: &NodeName) -> Result<bool, StoreError> {
        let mut pipe = redis::pipe();
        // One more than there may be.
        pipe.cmd("ZRANGE")
            .arg(format!("onceover:task:{task}:stages"))
            .arg(0)
            .arg(1);
        let others = self.names.list().iter().filter(|name| *name != node);
        let keys = others.flat_map(|name| KeySpelling::ALL.map(|spelling| spelling.key(task, name)));
        let mut keys: Vec<_> = keys.collect();
        keys.push(format!("onceover:foreign:{task}"));
        for keys in keys.chunks(KEYS_PER_COMMAND) {
            pipe.cmd("EXISTS").arg(keys);
        }
        let mut replies = ReadReplies::from(self.send_plain(pipe).await?);
        let listed: Option<Vec<String>> = replies.next_readable()?;
        if listed.is_none_or(|listed| listed != [node.as_str()]) {
            return Ok(true);
        }
        for _ in keys.chunks(KEYS_PER_COMMAND) {
            let found: Option<u64> = replies.next_readable()?;
            if found != Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Calls a script, and reads a task for a view as it is right after that, in one round trip where the task is
    /// remembered.
    pub(super) async fn call_and_read<T: FromRedisValue>(
        &self,
        call: PreparedCall<'_>,
        task: &TaskId,
    ) -> Result<(T, TaskRecords), StoreError> {
        let (answer, mut read) = self.call_and_read_each(call, &[task]).await?;
        let records = read.pop().unwrap_or_else(|| Err(unexpected("a task was not read")))?;
        Ok((answer, records))
    }

    /// Does the same for several tasks. A task that cannot be read is an error of that one alone.
    pub(super) async fn call_and_read_each<T: FromRedisValue>(
        &self,
        call: PreparedCall<'_>,
        tasks: &[&TaskId],
    ) -> Result<(T, Vec<Result<TaskRecords, StoreError>>), StoreError> {
        #[cfg(test)]
        if let Some(answer) = self.rehearse(call.script, &call.args).await {
            let mut read = Vec::new();
            for task in tasks {
                read.push(self.read_for_view(task).await);
            }
            return Ok((convert_value(answer)?, read));
        }
        let readings: Vec<_> = tasks.iter().map(|task| TaskReading::begin(self, task)).collect();
        let plans: Vec<_> = readings.iter().map(TaskReading::first_plan).collect();
        let mut read = Vec::with_capacity(tasks.len());
        let Some((answer, replies)) = self.send_call_and_reads(&call, &readings, &plans).await? else {
            let answer = self.call(call).await?;
            for reading in &readings {
                read.push(reading.complete(reading.first_plan()).await);
            }
            return Ok((answer, read));
        };
        let answer = convert_value(answer)?;
        for ((reading, plan), mut replies) in readings.iter().zip(&plans).zip(replies) {
            let records = match reading.evaluate(plan, &mut replies) {
                Ok(ReadStep::Done(records)) => Ok(records),
                Ok(ReadStep::More(more)) => reading.complete(more).await,
                Err(error) => Err(error),
            };
            read.push(records);
        }
        Ok((answer, read))
    }

    /// Sends a call of a script and reads of tasks as one transaction. Returns what the script has answered, and the
    /// replies of each read; nothing where Redis has refused it before it began.
    async fn send_call_and_reads(
        &self,
        call: &PreparedCall<'_>,
        readings: &[TaskReading<'_>],
        plans: &[ReadPlan],
    ) -> Result<Option<(Value, Vec<ReadReplies>)>, StoreError> {
        let mut pipe = redis::pipe();
        pipe.add_command(call.command());
        let mut ends = Vec::with_capacity(plans.len());
        for (reading, plan) in readings.iter().zip(plans) {
            plan.add_commands(&mut pipe, reading.task);
            ends.push(pipe.len());
        }
        let Some(mut replies) = self.send_atomic(&mut pipe).await? else {
            return Ok(None);
        };
        let is_unknown = |reply: &RedisResult<Value>| {
            let error = reply.as_ref().err();
            error.is_some_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
        };
        if replies.first().is_some_and(is_unknown) {
            // Redis was restarted: it has called nothing.
            let mut redis = self.redis.clone();
            self.limited(call.script.load_async(&mut redis)).await?;
            replies = match self.send_atomic(&mut pipe).await? {
                Some(replies) => replies,
                None => return Ok(None),
            };
        }
        let mut replies = replies.into_iter();
        let answer = replies.next();
        let answer = answer.ok_or_else(|| unexpected("Redis answered fewer commands than it was sent"))??;
        let mut begin = 1;
        let parts = ends.into_iter().map(|end| {
            let part: Vec<_> = replies.by_ref().take(end - begin).collect();
            begin = end;
            ReadReplies::from(part)
        });
        let parts = parts.collect();
        Ok(Some((answer, parts)))
    }

    /// Sends a read as one transaction. A Redis that is full queues no command at all: there the commands are sent one
    /// after the other, which is right as well, since the list of stages is read first.
    async fn send_read(&self, plan: &ReadPlan, task: &TaskId) -> Result<Vec<RedisResult<Value>>, StoreError> {
        let mut pipe = redis::pipe();
        plan.add_commands(&mut pipe, task);
        if let Some(replies) = self.send_atomic(&mut pipe).await? {
            return Ok(replies);
        }
        let mut pipe = redis::pipe();
        plan.add_commands(&mut pipe, task);
        self.send_plain(pipe).await
    }

    /// Sends commands, other callers' between them. Returns the reply of each.
    pub(super) async fn send_plain(&self, mut pipe: Pipeline) -> Result<Vec<RedisResult<Value>>, StoreError> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        pipe.ignore_errors();
        let mut redis = self.redis.clone();
        self.limited(pipe.query_async(&mut redis)).await
    }

    /// Sends commands as one transaction. Returns the reply of each; nothing where Redis has refused to queue one, and
    /// so carried out none.
    async fn send_atomic(&self, pipe: &mut Pipeline) -> Result<Option<Vec<RedisResult<Value>>>, StoreError> {
        pipe.atomic().ignore_errors();
        let mut redis = self.redis.clone();
        let sent = async {
            match pipe.query_async::<Vec<RedisResult<Value>>>(&mut redis).await {
                Ok(replies) => Ok(Some(replies)),
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::ExecAbort) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let start = std::time::Instant::now();
        let replies = self.limited(sent).await;
        self.calls.observe(start.elapsed());
        replies
    }
}
