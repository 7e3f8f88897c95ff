//! The limits: on what clients, programs and other workers can make deep, many, slow or large, and on what the machine can run
//! out of. Each has a name, a setting, what happens beyond it, and a count of how often it was reached. The daemon's `limits`
//! has their values; `docs/limits.md` is written from both.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod lack;

use std::sync::atomic::{AtomicU64, Ordering};

/// What every daemon says of a limit.
#[derive(Debug, Clone, Copy)]
pub struct LimitRow {
    /// The name, as `limit` of `onceover_limit_reached_total`.
    pub name: &'static str,
    /// The key of the configuration that sets it; none where it is fixed.
    pub setting: Option<&'static str>,
    /// What it bounds.
    pub bounds: &'static str,
    /// What happens beyond it.
    pub refusal: &'static str,
}

macro_rules! setting {
    (fixed) => {
        None
    };
    ($key:literal) => {
        Some($key)
    };
}

macro_rules! limits {
    ($($variant:ident $name:literal $setting:tt $bounds:literal $refusal:literal;)*) => {
        /// A limit. Each has a row in the table, so none can be counted without one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Limit {
            $(#[doc = $bounds] $variant,)*
        }

        impl Limit {
            /// Every limit, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// What every daemon says of it.
            pub const fn row(self) -> &'static LimitRow {
                match self {
                    $(Self::$variant => {
                        const ROW: LimitRow = LimitRow {
                            name: $name,
                            setting: setting!($setting),
                            bounds: $bounds,
                            refusal: $refusal,
                        };
                        &ROW
                    })*
                }
            }
        }
    };
}

limits! {
    Requests "requests" "access.max_requests"
        "requests under way at a time; an event stream or a followed log counts until its headers are sent"
        "503 `busy` with `Retry-After`";
    Connections "connections" "access.max_connections"
        "connections open at a time; three quarters of the files that the daemon may open, where that is less"
        "the longest idle one is closed, those first that sent no valid token; a new one where all are at work";
    HeaderTime "header_time" "access.header_timeout"
        "time for the head of a request, and for the first one of a connection to come"
        "the connection is closed";
    BodyTime "body_time" "access.body_timeout"
        "time that the body of a request is waited for, renewed with each 16 KiB of it"
        "408 `body-timeout`, and the connection is closed";
    IdleTime "idle_time" "access.idle_timeout"
        "time for the next request of a connection, and for the next bytes of an answer to be taken; event streams and followed logs have none"
        "the connection is closed";
    RequestBody "request_body" fixed
        "bytes of a request's JSON"
        "413 `too-large`; nothing is stored";
    BatchItems "batch_items" fixed
        "submits in one `POST /v1/tasks/batch`"
        "422 that names `tasks`; nothing is stored";
    FormText "form_text" fixed
        "bytes of a text field of an upload's form"
        "422 that names the field";
    Warnings "warnings" fixed
        "warnings that one answer names"
        "the last one says how many more there are";
    ResultWarnings "result_warnings" fixed
        "warnings that one result carries"
        "the last one says how many more there are";
    UnknownFields "unknown_fields" fixed
        "unknown fields that one refusal names"
        "422, whose last error says how many more there are";
    RunsAtOnce "runs_at_once" "slots.<class>"
        "runs at a time of a resource class, over all daemons on one Redis"
        "a run waits in its queue";
    LostRuns "lost_runs" "runs.max_lost"
        "how often one run may be lost with its daemon"
        "the run is FAILED and says so";
    LostWorkers "lost_workers" "services.<name>.max_attempts"
        "attempts of one run whose Celery workers are lost"
        "the run is FAILED and says so";
    MessageProcesses "message_processes" fixed
        "processes of Celery workers that begin with one message"
        "the message is revoked, and the run is FAILED and says so";
    WorkerMessage "worker_message" fixed
        "bytes of one message to a Celery worker, which has the outputs of all earlier stages of its task"
        "the run is FAILED and names the size and the limit; nothing is sent";
    WorkerResult "worker_result" fixed
        "bytes of what a Celery worker returns for one message"
        "it is not read: the run is FAILED and names the size and the limit";
    SearchedMessages "searched_messages" fixed
        "messages of a Celery queue, and of those that workers have not acknowledged, that are searched for one"
        "it is not known where the message is, so that nothing is sent again and nothing counts as lost; it is searched for later";
    KnownWorkers "known_workers" fixed
        "Celery workers of one broker that are remembered"
        "others are neither shown nor counted as listeners";
    StagesOnWorkers "stages_on_workers" fixed
        "stages of one queue of Celery workers that `GET /v1/workers` names"
        "the others are in its numbers alone";
    RunLog "run_log" fixed
        "bytes of a run's log"
        "its beginning and its end are kept, and a line between them says how much is left out; the run goes on";
    OutputLine "output_line" fixed
        "bytes of one line that a program prints"
        "the line is cut; an output that is cut fails the run";
    RecordedFiles "recorded_files" fixed
        "files of a result that are compared before it is reused"
        "the first ones are compared, the others are not";
    ComparedEntries "compared_entries" fixed
        "files and folders of a folder that a request names and that is compared with the former one"
        "whether it is the same is not known: `strict` runs";
    KeptEvents "kept_events" "retention.events"
        "events that are kept in Redis for readers who come later"
        "`reset`: the reader reads everything again";
    RunsPerStage "runs_per_stage" "retention.runs_per_stage"
        "ended runs of a stage that are kept with their times, inputs and outputs"
        "the oldest is dropped; the list of runs says how many are not kept";
    HistoryBytes "history_bytes" fixed
        "bytes of input and output, as JSON, that are kept of a run once its stage has another one"
        "what does not fit is left out, and the run says so";
    Needs "needs" fixed
        "stages that a run is recorded to have taken from or followed"
        "the first ones are recorded";
    ForeignChanges "foreign_changes" fixed
        "stages of other workers that wait to be compared"
        "the next read of the task compares it";
    KeptCallbacks "kept_callbacks" "callbacks.keep"
        "callbacks that were sent and are kept, to be shown and sent again"
        "the oldest is deleted";
    CallbackTries "callback_tries" "callbacks.schedule"
        "tries of one callback"
        "it is given up, is listed as failed and can be sent again";
    CallbackTime "callback_time" "callbacks.timeout"
        "time of one try of a callback"
        "the try has failed; the next one follows the schedule";
    InputTime "input_time" "inputs.timeout"
        "time of the download of one input"
        "the run fails and names the URL and the setting";
    UploadTime "upload_time" "storage.retry_for"
        "time for which the upload of a result's files is tried"
        "it is given up; the files stay on the daemon's disk and the result says so";
    CallbackAnswer "callback_answer" fixed
        "bytes of a receiver's answer that are read"
        "the connection is closed; the answer's status counts";
    Redirects "redirects" fixed
        "redirects that a download follows"
        "the run fails and says so";
    ModelAnswer "model_answer" fixed
        "bytes of one answer of a language model"
        "the run fails and names the provider";
    FruitlessQuestions "fruitless_questions" fixed
        "questions to a language model, one after another, that bring no line it was asked for"
        "no more are asked; the lines that are left keep their text and the result warns of them";
    KeptAnswers "kept_answers" fixed
        "bytes of a language model's accepted answers that are kept for one node of a task"
        "what was kept is deleted, and asked again where it is needed";
    Archive "archive" fixed
        "bytes that an archive of pictures holds once it is unpacked"
        "the run fails and says so";
    MediaClock "media_clock" fixed
        "hours of a file's clock on which sound can lie, silence that is filled in included"
        "the run fails and names the file";
    ManifestFrames "manifest_frames" fixed
        "frames that the strips of one manifest stand for when they are read"
        "the run fails before a model is loaded, and names the file";
    Frames "frames" fixed
        "packets or frames of one track whose times are read"
        "the run fails and names the file";
    UploadedFile "uploaded_file" "files.max_bytes"
        "bytes of one file that is uploaded"
        "413 `too-large`, and what had arrived is removed";
    CueFile "cue_file" fixed
        "bytes of a file that is answered as cues (`?as=cues`)"
        "413 `too-large`, which names the file";
    DownloadedInput "downloaded_input" "inputs.max_bytes"
        "bytes of one input that a run downloads"
        "the run fails and names the URL, the limit and the setting";
    Callbacks "callbacks" "callbacks.max_at_once"
        "tries of callbacks under way at a time; at most half of them are second ones to a host or go to hosts that did not answer"
        "what is due waits, hosts that were served longest ago first";
    CallbacksOfHost "callbacks_of_host" "callbacks.max_per_host"
        "tries of callbacks under way to one host; a single one once it did not answer"
        "what is due for that host waits";
    CallbackBreaker "callback_breaker" "callbacks.breaker_after"
        "tries in a row that a host may leave without any answer"
        "the host is left alone for `callbacks.breaker_wait`, later up to 16 times as long, then one try shows whether it answers again; waiting uses no try";
    FolderDepth "folder_depth" "runs.max_depth"
        "how deep folders are that a run leaves in its own"
        "the run fails and names the depth and the setting; what is deeper is measured and removed all the same";
    FilesOfRun "files_of_run" "runs.max_files"
        "files and folders that a run leaves in its folder"
        "the run fails and names their number and the setting";
    Document "document" "inputs.max_document"
        "bytes of a transcript, a subtitle file, a prompt or another document that a run reads whole"
        "the run fails before anything is read, and names the file, its size, the limit and the setting";
    Picture "picture" fixed
        "bytes of one picture that a run reads; its pixels may take 512 MiB"
        "the picture is left out and named in the run's result";
    MachineResources "machine_resources" fixed
        "file descriptors, memory, processes and disk space that a run needs to begin"
        "the run waits, its stage's message names what it waits for, and it is tried again";
    Input "input" "inputs.max_json"
        "bytes of the `input_data` of one request, as JSON"
        "413 `too-large`, which names the field";
    TaskInput "task_input" "inputs.max_task"
        "bytes of the `input_data` of all stages of a task together"
        "413 `too-large`, which names the field";
    CallbacksOfRun "callbacks_of_run" "callbacks.max_per_run"
        "distinct callback URLs that wait for one run"
        "409 `too-many-callbacks`";
    ForeignStages "foreign_stages" fixed
        "stages of one task that other workers add, beside as many as the catalog has nodes"
        "they are not shown";
    RedisMemory "redis_memory" "redis.max_memory"
        "bytes that the private Redis takes, or another one with a `maxmemory`; from 90 % on nothing new is accepted"
        "503 `redis-full` to what would start a run or wait for a callback; runs under way go on";
    WarmProcesses "warm_processes" "warm.max_processes"
        "processes that are kept with their models at a time"
        "the idle one that was used longest ago is ended; where all are at work, a run has a process that ends with it";
    WarmRuns "warm_runs" "warm.max_runs"
        "runs that one kept process takes"
        "it is ended after that run, and the next run starts another one";
    WarmGrowth "warm_growth" "warm.max_growth"
        "bytes by which the memory of a kept process grows after its first run"
        "it is ended after that run, and the next run starts another one";
    WarmMemory "warm_memory" "warm.max_memory"
        "bytes of memory that all kept processes have together"
        "idle ones are ended, those first that were used longest ago";
    WarmGpuMemory "warm_gpu_memory" "warm.gpu_memory"
        "bytes of the GPU's memory that kept processes and a run that starts one hold together"
        "idle ones are ended, those first that were used longest ago; all of them where a figure is not known";
}

static REACHED: [AtomicU64; Limit::ALL.len()] = [const { AtomicU64::new(0) }; Limit::ALL.len()];

impl Limit {
    /// Counts that something was refused, cut or put off because of this limit.
    pub fn reached(self) {
        self.reached_times(1);
    }

    /// Does the same for several at once.
    pub fn reached_times(self, times: u64) {
        REACHED[self as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// Finds the limit of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.row().name == name)
    }

    /// Returns how often it was reached since this daemon started.
    pub fn times_reached(self) -> u64 {
        REACHED[self as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_settings_are_unique() {
        for pick in [
            |limit: &Limit| Some(limit.row().name),
            |limit: &Limit| limit.row().setting,
        ] {
            let mut seen: Vec<&str> = Limit::ALL.iter().filter_map(pick).collect();
            let all = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), all);
        }
    }
}
