//! Whether a stage is answered by what is there, joined or run (R1-R5): asked for real, and without effect.

use onceover_types::{NodeName, RunId, RunnerKind, StageState, TaskId, VideoId};
use onceover_wire::ReuseRule;
use redis::Value;

use super::{
    Store, StoreError,
    args::{IgnoredHashes, Json, JsonText, PreparedCall, named_argument, script_call},
    history::limit_needs,
    record::{Fields, ForeignJson, StageRecord, TaskRecords},
    reply::{TaggedReply, unexpected},
};

script_call! {
    SubmitCall<'a>: SUBMIT {
        task: &'a TaskId,
        name: &'a NodeName,
        mode: ReuseRule,
        /// Fingerprint of the input.
        fp: &'a str,
        in_files: Option<&'a str>,
        verified: Option<&'a str>,
        broken: Option<&'a str>,
        broken_how: Option<ArtifactFault>,
        ignore: IgnoredHashes<'a>,
        run: &'a RunId,
        queue: &'a str,
        runner: RunnerKind,
        input: &'a str,
        input_pub: &'a str,
        path: JsonText<'a>,
        callback: JsonText<'a>,
        url: Option<&'a str>,
        host: Option<&'a str>,
        hit_delivery: Option<&'a str>,
        sources: Option<Json<'a, [Vec<&'a str>]>>,
        most_callbacks: Option<u64>,
        most_input: u64,
        full: bool,
        files: bool,
        inputs: Option<InputsFound>,
        key: Option<&'a str>,
        key_body: Option<&'a str>,
        unable: bool,
        video: Option<&'a VideoId>,
        processing: Option<&'a RunId>,
        needs: Option<Json<'a, [NodeName]>>,
        keep_runs: u64,
    }
}

script_call! {
    ExplainCall<'a>: EXPLAIN {
        task: &'a TaskId,
        name: &'a NodeName,
        mode: ReuseRule,
        /// Fingerprint of the input.
        fp: &'a str,
        in_files: Option<&'a str>,
        verified: Option<&'a str>,
        broken: Option<&'a str>,
        broken_how: Option<ArtifactFault>,
        ignore: IgnoredHashes<'a>,
    }
}

named_argument!(ReuseRule, RunnerKind, ArtifactFault, InputsFound);

/// What reuse is decided by.
pub struct ReuseQuery<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    pub mode: ReuseRule,
    /// Fingerprint of the input.
    pub fingerprint: &'a str,
    /// Evidence of the files that the input names, as one text; None: unknown.
    pub files: Option<&'a str>,
}

/// What the daemon checked because the store could not decide without.
#[derive(Debug, Clone, Default)]
pub struct GatheredEvidence {
    /// Token of the result whose files are complete.
    pub verified: Option<String>,
    /// The result whose files are not.
    pub broken: Option<BrokenResult>,
    /// Hashes of foreign JSONs that count as lost.
    pub ignore: Vec<String>,
    /// What was found of the files that the request names.
    pub inputs: Option<InputsFound>,
}

/// A result that cannot be reused because of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenResult {
    /// Token of the result, as [`VerificationRequest::Verify`] gave it.
    pub token: String,
    pub fault: ArtifactFault,
}

/// What is wrong with the files of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactFault {
    Missing,
    Changed,
}

impl ArtifactFault {
    /// The reason for a run, as requests and events show it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "artifact_missing",
            Self::Changed => "artifact_changed",
        }
    }
}

/// Whether the files that a request names exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputsFound {
    Present,
    Missing,
    /// They are missing, and lie where a stage of the task that is in flight may still put them.
    MayCome,
}

impl InputsFound {
    fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::MayCome => "may_come",
        }
    }
}

impl GatheredEvidence {
    /// Notes that a result cannot be reused because of its files.
    pub fn set_broken(&mut self, token: String, fault: ArtifactFault) {
        self.broken = Some(BrokenResult { token, fault });
    }

    /// Lets a foreign JSON count as lost. There may be one under each spelling of the key.
    pub fn set_aside(&mut self, sha: &str) {
        self.ignore.push(sha.to_owned());
    }
}

/// One submit, as the script takes it.
pub struct Submit<'a> {
    pub question: ReuseQuery<'a>,
    /// Id of the run, if one starts.
    pub run: &'a RunId,
    pub queue: &'a str,
    pub runner: RunnerKind,
    /// The request's `input_data` as JSON, and the same with secrets hidden.
    pub input: &'a str,
    pub input_public: &'a str,
    /// Folder of the task's files.
    pub path: &'a str,
    pub callback: Option<&'a str>,
    /// Host of the callback, without a port.
    pub callback_host: Option<&'a str>,
    /// Id of the delivery, if this is a hit with a callback.
    pub delivery: &'a str,
    /// What only earlier stages can give: groups of names of nodes. A run is refused if the task has no stage of the nodes
    /// of a group.
    pub sources: &'a [Vec<&'a str>],
    /// The request names files: a run starts only once it is known whether they exist ([`GatheredEvidence::inputs`]).
    pub has_files: bool,
    /// The stages that a run takes from or follows, as far as the request says it.
    pub needs: &'a [NodeName],
    /// This daemon cannot run the node: a run is refused.
    pub unable: bool,
    /// What makes repeats of the request one task.
    pub key: Option<&'a IdempotencyKey>,
    /// The pipeline that submits the stage.
    pub pipeline: Option<&'a PipelineRun>,
}

/// The processing of a video on whose behalf a stage is submitted. It has named the run beforehand, so that a repeated
/// submit starts nothing.
#[derive(Debug, Clone)]
pub struct PipelineRun {
    pub video: VideoId,
    /// The processing.
    pub processing: RunId,
    /// The run of the stage.
    pub run: RunId,
    /// The stages that the step follows.
    pub needs: Vec<NodeName>,
}

/// An idempotency key and the request that it was sent with, by their hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Hash of the key.
    pub key: String,
    /// Hash of the request.
    pub body: String,
}

/// A request that a result answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// None: not known.
    pub input_changed: Option<bool>,
    pub result: ReusedResult,
}

/// A result that was reused, with what is the same at its next hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReusedResult {
    /// Names the result, as [`StageRecord::result_token`] returns it.
    pub token: String,
    /// Counts the runs of the stage; empty where it has none.
    pub generation: String,
    /// The stage's summary as a format of Lua, with `%s` for each of the four values that a hit changes.
    pub summary: String,
}

impl ReusedResult {
    /// Returns the bytes of its texts.
    pub fn text_size(&self) -> usize {
        self.token.len() + self.generation.len() + self.summary.len()
    }
}

/// The decision of a submit (R2-R4).
pub enum Decision {
    Hit(Hit),
    Joined {
        state: StageState,
        run: RunId,
    },
    Started {
        reason: String,
        run: RunId,
    },
    /// It would run: the files that the request names have to be checked first. Nothing was written.
    LookAtInputs,
    /// The request was sent before with this key, under this task. Nothing was written.
    Keyed(TaskId),
    Ask(VerificationRequest),
    /// Nothing was written.
    Refused(SubmitRefusal),
}

/// Why a submit is refused.
pub enum SubmitRefusal {
    /// The result came from other input, and the node's policy refuses that.
    OtherInput,
    /// It would run, but the task has no stage of the nodes in these groups of [`Submit::sources`], by their positions.
    NoSource(Vec<usize>),
    /// It would run, but files that the request names are missing.
    InputsMissing,
    /// It would run, but cannot ([`Submit::unable`]).
    NotReady,
    /// Another request was sent with this key.
    KeyReused,
    /// What of the stage's record cannot be right.
    Damaged(String),
    /// Redis is nearly full.
    Full,
    /// As many callbacks wait for the run as may.
    TooManyCallbacks,
    /// With this input the task's stages would have more than they may.
    TaskFull,
    /// The processing that submits the stage is no longer the video's.
    Superseded,
    /// The processing has submitted this very run before.
    DuplicateRun,
}

/// What has to be checked before a decision; then the caller asks again.
pub enum VerificationRequest {
    /// A hit, if these files are complete.
    Verify { token: String, artifacts: String },
    /// Another worker wrote this stage.
    Foreign(ForeignJson),
}

/// How a submit would be decided now.
pub enum Explained {
    Hit {
        /// None: not known.
        input_changed: Option<bool>,
        record: StageRecord,
    },
    InFlight {
        record: StageRecord,
        /// Runs before it in the queue; None while it runs.
        position: Option<u64>,
    },
    Run {
        reason: String,
        record: Option<StageRecord>,
    },
    /// What of the stage's record cannot be right.
    Damaged(String),
    /// By the node's policy.
    Refused {
        /// None: not known.
        input_changed: Option<bool>,
    },
    Ask(VerificationRequest),
}

impl Store {
    /// Decides reuse and claims the stage in one step (R5).
    pub async fn submit(&self, submit: &Submit<'_>, evidence: &GatheredEvidence) -> Result<Decision, StoreError> {
        let reply: Vec<Value> = self.call(self.prepare_submit(submit, evidence)).await?;
        parse_decision(TaggedReply::new("submit", reply)?)
    }

    /// Does the same, and reads the task as it is right after that, for a request that will probably be a hit.
    pub async fn submit_and_read(
        &self,
        submit: &Submit<'_>,
        evidence: &GatheredEvidence,
    ) -> Result<(Decision, TaskRecords), StoreError> {
        let call = self.prepare_submit(submit, evidence);
        let (reply, records) = self.call_and_read::<Vec<Value>>(call, submit.question.task).await?;
        Ok((parse_decision(TaggedReply::new("submit", reply)?)?, records))
    }

    fn prepare_submit<'a>(&'a self, submit: &'a Submit<'a>, evidence: &'a GatheredEvidence) -> PreparedCall<'a> {
        let question = &submit.question;
        let broken = evidence.broken.as_ref();
        let call = SubmitCall {
            task: question.task,
            name: question.node,
            mode: question.mode,
            fp: question.fingerprint,
            in_files: question.files,
            verified: evidence.verified.as_deref(),
            broken: broken.map(|broken| broken.token.as_str()),
            broken_how: broken.map(|broken| broken.fault),
            ignore: IgnoredHashes(&evidence.ignore),
            run: submit.run,
            queue: submit.queue,
            runner: submit.runner,
            input: submit.input,
            input_pub: submit.input_public,
            path: JsonText(Some(submit.path)),
            callback: JsonText(submit.callback),
            url: submit.callback,
            host: submit.callback_host,
            hit_delivery: submit.callback.map(|_| submit.delivery),
            sources: (!submit.sources.is_empty()).then_some(Json(submit.sources)),
            most_callbacks: submit.callback.map(|_| self.options.bounds.callbacks),
            most_input: self.options.bounds.task_input,
            full: self.is_nearly_full(),
            files: submit.has_files,
            inputs: evidence.inputs,
            key: submit.key.map(|key| key.key.as_str()),
            key_body: submit.key.map(|key| key.body.as_str()),
            unable: submit.unable,
            video: submit.pipeline.map(|pipeline| &pipeline.video),
            processing: submit.pipeline.map(|pipeline| &pipeline.processing),
            needs: (!submit.needs.is_empty()).then(|| Json(limit_needs(submit.needs))),
            keep_runs: self.options.keep_runs,
        };
        call.prepare(self)
    }

    /// Explains how a submit would be decided now, and changes nothing.
    pub async fn explain(
        &self,
        question: &ReuseQuery<'_>,
        evidence: &GatheredEvidence,
    ) -> Result<Explained, StoreError> {
        let broken = evidence.broken.as_ref();
        let call = ExplainCall {
            task: question.task,
            name: question.node,
            mode: question.mode,
            fp: question.fingerprint,
            in_files: question.files,
            verified: evidence.verified.as_deref(),
            broken: broken.map(|broken| broken.token.as_str()),
            broken_how: broken.map(|broken| broken.fault),
            ignore: IgnoredHashes(&evidence.ignore),
        };
        let reply: Vec<Value> = self.call(call.prepare(self)).await?;
        parse_explanation(TaggedReply::new("explain", reply)?)
    }
}

/// Reads what `compare_input` of reuse.lua answered; None: not known.
fn parse_input_changed(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Reads how the input of a hit compares, behind the number of its event.
pub(super) fn parse_counted_hit(reply: &mut TaggedReply) -> Result<Option<bool>, StoreError> {
    let _sequence: u64 = reply.next_value()?;
    let input_changed: String = reply.next_value()?;
    Ok(parse_input_changed(&input_changed))
}

/// Builds the format of a summary from what `build_summary_parts` of record.lua has answered.
fn build_summary_format(parts: &[String]) -> Result<String, StoreError> {
    if parts.len() != 5 {
        return Err(unexpected(format!("a summary has {} parts", parts.len())));
    }
    let parts: Vec<_> = parts.iter().map(|part| part.replace('%', "%%")).collect();
    Ok(parts.join("%s"))
}

fn parse_hit(mut reply: TaggedReply) -> Result<Hit, StoreError> {
    Ok(Hit {
        input_changed: parse_counted_hit(&mut reply)?,
        result: ReusedResult {
            token: reply.next_value()?,
            generation: reply.next_value()?,
            summary: build_summary_format(&reply.next_value::<Vec<String>>()?)?,
        },
    })
}

fn parse_decision(mut reply: TaggedReply) -> Result<Decision, StoreError> {
    Ok(match reply.kind.as_str() {
        "hit" => Decision::Hit(parse_hit(reply)?),
        "join" => Decision::Joined {
            state: reply.next_parsed()?,
            run: reply.next_parsed()?,
        },
        "run" => Decision::Started {
            reason: reply.next_value()?,
            run: reply.next_parsed()?,
        },
        "inputs" => Decision::LookAtInputs,
        "keyed" => Decision::Keyed(reply.next_parsed()?),
        "verify" | "foreign" => Decision::Ask(parse_verification(reply)?),
        _ => Decision::Refused(parse_refusal(reply)?),
    })
}

fn parse_refusal(mut reply: TaggedReply) -> Result<SubmitRefusal, StoreError> {
    Ok(match reply.kind.as_str() {
        "refuse" => SubmitRefusal::OtherInput,
        "no_source" => SubmitRefusal::NoSource(reply.next_value()?),
        "inputs_missing" => SubmitRefusal::InputsMissing,
        "unable" => SubmitRefusal::NotReady,
        "damaged" => SubmitRefusal::Damaged(reply.next_value()?),
        "full" => SubmitRefusal::Full,
        "callbacks" => SubmitRefusal::TooManyCallbacks,
        "task_full" => SubmitRefusal::TaskFull,
        "key_reused" => SubmitRefusal::KeyReused,
        "superseded" => SubmitRefusal::Superseded,
        "known" => SubmitRefusal::DuplicateRun,
        _ => return Err(reply.unknown_kind()),
    })
}

fn parse_verification(mut reply: TaggedReply) -> Result<VerificationRequest, StoreError> {
    Ok(match reply.kind.as_str() {
        "verify" => VerificationRequest::Verify {
            token: reply.next_value()?,
            artifacts: reply.next_value()?,
        },
        _ => VerificationRequest::Foreign(ForeignJson {
            key: reply.next_value()?,
            sha: reply.next_value()?,
            ttl_ms: reply.next_value()?,
            json: reply.next_value()?,
            noted: None,
        }),
    })
}

fn parse_explanation(mut reply: TaggedReply) -> Result<Explained, StoreError> {
    Ok(match reply.kind.as_str() {
        "hit" => {
            let input_changed: String = reply.next_value()?;
            Explained::Hit {
                input_changed: parse_input_changed(&input_changed),
                record: StageRecord::from_fields(reply.next_value()?),
            }
        }
        "join" => {
            let record = StageRecord::from_fields(reply.next_value()?);
            let position: i64 = reply.next_value()?;
            Explained::InFlight {
                record,
                position: u64::try_from(position).ok(),
            }
        }
        "run" => {
            let reason = reply.next_value()?;
            let fields: Fields = reply.next_value()?;
            let record = (!fields.is_empty()).then(|| StageRecord::from_fields(fields));
            Explained::Run { reason, record }
        }
        "refuse" => {
            let input_changed: String = reply.next_value()?;
            Explained::Refused {
                input_changed: parse_input_changed(&input_changed),
            }
        }
        "damaged" => Explained::Damaged(reply.next_value()?),
        "verify" | "foreign" => Explained::Ask(parse_verification(reply)?),
        _ => return Err(reply.unknown_kind()),
    })
}
