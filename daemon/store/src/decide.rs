//! Whether a stage is answered by what is there, joined or run (R1-R5): asked for real, and without effect.

use onceover_types::{NodeName, RunId, StageState, TaskId, VideoId};

use super::{Args, ForeignJson, StageRecord, Store, StoreError, TaskRecords, json_string, list, record, scripts};

/// What reuse is decided by.
pub struct ReuseQuery<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    /// auto, never, strict, refuse or off.
    pub mode: &'a str,
    /// Fingerprint of the input.
    pub fingerprint: &'a str,
    /// What the files were that the input names, as one text; None: unknown.
    pub files: Option<&'a str>,
}

/// What the daemon looked at because the store could not decide without.
#[derive(Debug, Clone, Default)]
pub struct GatheredEvidence {
    /// The result whose files are whole.
    pub verified: Option<String>,
    /// The result whose files are not, and why: `artifact_missing` or `artifact_changed`.
    pub broken: Option<(String, &'static str)>,
    /// Hashes of foreign JSONs that count as lost, blank-separated.
    pub ignore: Option<String>,
    /// What was found of the files that the request names.
    pub inputs: Option<InputsFound>,
}

/// Whether the files are there that a request names.
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
    /// A foreign JSON counts as lost. There may be one under each spelling of the key.
    pub fn set_aside(&mut self, sha: &str) {
        self.ignore = Some(self.ignore.take().unwrap_or_default() + " " + sha);
    }
}

/// One submit, as the script takes it.
pub struct Submit<'a> {
    pub question: ReuseQuery<'a>,
    /// Id of the run, if one starts.
    pub run: &'a RunId,
    pub queue: &'a str,
    pub runner: &'a str,
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
    /// What only earlier stages can give: groups of names of nodes. A run is
    /// refused when the task has no stage of a group's nodes.
    pub sources: &'a [Vec<&'a str>],
    /// The request names files: before a run starts, whether they are there has to be known ([`GatheredEvidence::inputs`]).
    pub has_files: bool,
    /// This daemon could not run the node: a run is refused.
    pub unable: bool,
    /// What makes repeats of the request one task.
    pub key: Option<&'a IdempotencyKey>,
    /// The pipeline that asks.
    pub pipeline: Option<&'a PipelineRun>,
}

/// The processing of a video on whose behalf a stage is submitted. It has named the run beforehand, so that asking again
/// for the same one starts nothing.
#[derive(Debug, Clone)]
pub struct PipelineRun {
    pub video: VideoId,
    /// The processing.
    pub processing: RunId,
    /// The run of the stage.
    pub run: RunId,
}

/// An idempotency key, and the request that it was sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Hash of the key.
    pub key: String,
    /// Hash of the request.
    pub body: String,
}

/// The decision of a submit (R2-R4).
pub enum Decision {
    Hit {
        /// None: not known.
        input_changed: Option<bool>,
        records: TaskRecords,
    },
    Joined {
        state: StageState,
        run: RunId,
    },
    Started {
        reason: String,
        run: RunId,
    },
    /// It would run: the files that the request names have to be looked at first. Nothing was written.
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
    /// It would run, but the task has no stage of the nodes in these groups of [`Submit::sources`].
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
    /// The pipeline that asks is no longer the video's.
    Superseded,
    /// The pipeline has asked for this very run before.
    DuplicateRun,
}

/// What has to be looked at before a decision; then ask again.
pub enum VerificationRequest {
    /// A hit, if these files are still there.
    Verify { token: String, artifacts: String },
    /// Somebody else wrote this stage.
    Foreign(ForeignJson),
}

/// How a submit would be decided now.
pub enum Explained {
    Hit {
        /// None: not known.
        input_changed: Option<bool>,
        record: StageRecord,
    },
    /// With the number of runs before it in the queue; None while it runs.
    InFlight {
        record: StageRecord,
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
    fn question<'a>(&'a self, question: &ReuseQuery<'a>, looked: &'a GatheredEvidence) -> Args<'a> {
        self.args()
            .with("task", question.task.as_str())
            .with("name", question.node.as_str())
            .with("mode", question.mode)
            .with("fp", question.fingerprint)
            .with_some("in_files", question.files)
            .with_some("verified", looked.verified.as_deref())
            .with_some("broken", looked.broken.as_ref().map(|(token, _)| token.as_str()))
            .with_some("broken_how", looked.broken.as_ref().map(|(_, how)| *how))
            .with_some("ignore", looked.ignore.as_deref())
    }

    /// Decides reuse and claims the stage in one step (R5).
    pub async fn submit(&self, submit: &Submit<'_>, looked: &GatheredEvidence) -> Result<Decision, StoreError> {
        let callback = submit.callback.map_or_else(|| "null".to_owned(), json_string);
        let args = self
            .question(&submit.question, looked)
            .with("run", submit.run.as_str())
            .with("queue", submit.queue)
            .with("runner", submit.runner)
            .with("input", submit.input)
            .with("input_pub", submit.input_public)
            .with("path", json_string(submit.path))
            .with("callback", callback)
            .with_some("url", submit.callback)
            .with_some("host", submit.callback_host)
            .with("hit_delivery", submit.delivery)
            .with("sources", list(submit.sources))
            .with("most_callbacks", self.options.bounds.callbacks.to_string())
            .with("most_input", self.options.bounds.task_input.to_string())
            .with_some("full", self.is_nearly_full().then_some("1"))
            .with_some("files", submit.has_files.then_some("1"))
            .with_some("inputs", looked.inputs.map(InputsFound::as_str))
            .with_some("key", submit.key.map(|key| key.key.as_str()))
            .with_some("key_body", submit.key.map(|key| key.body.as_str()))
            .with_some("unable", submit.unable.then_some("1"))
            .with_some("video", submit.pipeline.map(|pipeline| pipeline.video.as_str()))
            .with_some(
                "processing",
                submit.pipeline.map(|pipeline| pipeline.processing.as_str()),
            )
            .with("names", self.names.as_str());
        let answer: Vec<redis::Value> = self.run(&scripts::SUBMIT, args).await?;
        record::decision(answer)
    }

    /// Says how a submit would be decided now, and changes nothing.
    pub async fn explain(&self, question: &ReuseQuery<'_>, looked: &GatheredEvidence) -> Result<Explained, StoreError> {
        let answer: Vec<redis::Value> = self.run(&scripts::EXPLAIN, self.question(question, looked)).await?;
        record::explained(answer)
    }
}
