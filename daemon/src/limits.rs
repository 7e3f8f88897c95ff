//! The limits on what others can make deep, many, slow or large: the one table of their names, settings, defaults and of
//! what a refusal says. `docs/limits.md` is written from it, and each limit has a counter in `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use onceover_common::{humane, wire::MOST_WARNINGS};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::{config::Config, store::MOST_FOREIGN_STAGES};

/// What is the same for every daemon about a limit.
#[derive(Debug, Clone, Copy)]
pub struct LimitRow {
    /// Its name, as `limit` of `onceover_limit_reached_total`.
    pub name: &'static str,
    /// The key of the configuration that sets it; none where it is fixed.
    pub setting: Option<&'static str>,
    /// Its value, with its unit, as a configuration sets it.
    pub value: fn(&Config) -> String,
    /// What it bounds.
    pub bounds: &'static str,
    /// What becomes of the one that goes over it.
    pub refusal: &'static str,
}

macro_rules! limits {
    ($($variant:ident $name:literal $setting:expr, $value:expr, $bounds:literal $refusal:literal;)*) => {
        /// A limit. Each has a row in the table, so none can be counted without one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Limit {
            $(#[doc = $bounds] $variant,)*
        }

        impl Limit {
            /// Every limit, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn row(self) -> &'static LimitRow {
                match self {
                    $(Self::$variant => {
                        const ROW: LimitRow = LimitRow {
                            name: $name,
                            setting: $setting,
                            value: $value,
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
    Requests "requests" Some("access.max_requests"), |config| config.access.max_requests.to_string(),
        "requests under way at a time; an event stream or a followed log counts until its headers are sent"
        "503 `busy` with `Retry-After`";
    Connections "connections" Some("access.max_connections"), |config| config.access.max_connections.to_string(),
        "connections open at a time; three quarters of the files that the daemon may open, where that is less"
        "the longest idle one is closed, those first that sent no valid token; a new one where all are at work";
    HeaderTime "header_time" Some("access.header_timeout"), |config| humane::duration(config.access.header_timeout),
        "time for the head of a request, and for the first one of a connection to come"
        "the connection is closed";
    BodyTime "body_time" Some("access.body_timeout"), |config| humane::duration(config.access.body_timeout),
        "time that the body of a request is waited for, given anew with each 16 KiB of it"
        "408 `body-timeout`, and the connection is closed";
    IdleTime "idle_time" Some("access.idle_timeout"), |config| humane::duration(config.access.idle_timeout),
        "time for the next request of a connection, and for the next bytes of an answer to be taken; event streams and followed logs have none"
        "the connection is closed";
    RequestBody "request_body" None, |_| humane::bytes(crate::api::BODY_LIMIT as u64),
        "bytes of a request's JSON"
        "413 `too-large`; nothing is stored";
    BatchItems "batch_items" None, |_| crate::api::batch::MOST.to_string(),
        "submits in one `POST /v1/tasks/batch`"
        "422 that names `tasks`; nothing is stored";
    FormText "form_text" None, |_| humane::bytes(crate::api::files::upload::LONGEST_TEXT as u64),
        "bytes of a text field of an upload's form"
        "422 that names the field";
    Warnings "warnings" None, |_| MOST_WARNINGS.to_string(),
        "warnings that one answer names"
        "the last one says how many more there are";
    ResultWarnings "result_warnings" None, |_| crate::executor::warnings::MOST_WARNINGS.to_string(),
        "warnings that one result carries"
        "the last one says how many more there are";
    UnknownFields "unknown_fields" None, |_| crate::engine::unread::MOST_REFUSED.to_string(),
        "unknown fields that one refusal names"
        "422, whose last error says how many more there are";
    RunsAtOnce "runs_at_once" Some("slots.<class>"), |_| "cpu = cores, gpu = 1, io = 4, llm = 4".to_owned(),
        "runs at a time of a resource class, over all daemons on one Redis"
        "a run waits in its queue";
    LostRuns "lost_runs" Some("runs.max_lost"), |config| config.runs.max_lost.to_string(),
        "how often one run may be lost with its daemon"
        "the run is FAILED and says so";
    RunLog "run_log" None, |_| humane::bytes(crate::executor::log::DEFAULT_LIMIT),
        "bytes of a run's log"
        "its last line says that it is cut there; the run goes on";
    OutputLine "output_line" None, |_| humane::bytes(crate::executor::command::LINE_LIMIT as u64),
        "bytes of one line that a program prints"
        "the line is cut; an output that is cut fails the run";
    RecordedFiles "recorded_files" None, |_| crate::engine::artifacts::LIMIT.to_string(),
        "files of a result that are compared before it is reused"
        "the first ones are compared, the others are not";
    ComparedEntries "compared_entries" None, |_| crate::engine::evidence::MOST_ENTRIES.to_string(),
        "files and folders of a folder that a request names and that is compared with the former one"
        "whether it is the same is not known: `strict` runs";
    KeptEvents "kept_events" Some("retention.events"), |config| config.retention.events.to_string(),
        "events that are kept in Redis for readers who come later"
        "`reset`: the reader reads everything again";
    ForeignChanges "foreign_changes" None, |_| crate::engine::MOST_CHANGED.to_string(),
        "stages of other workers that wait to be compared"
        "the next read of the task compares it";
    KeptCallbacks "kept_callbacks" Some("callbacks.keep"), |config| config.callbacks.keep.to_string(),
        "callbacks that were sent and are kept, to be seen and sent again"
        "the oldest is forgotten";
    CallbackTries "callback_tries" Some("callbacks.schedule"), |config| config.callbacks.schedule.len().to_string(),
        "tries of one callback"
        "it is given up, is listed as failed and can be sent again";
    CallbackTime "callback_time" Some("callbacks.timeout"), |config| humane::duration(config.callbacks.timeout),
        "time of one try of a callback"
        "the try has failed; the next one follows the schedule";
    InputTime "input_time" Some("inputs.timeout"), |config| humane::duration(config.inputs.timeout),
        "time of the download of one input"
        "the run fails and names the URL and the setting";
    UploadTime "upload_time" Some("storage.retry_for"), |config| humane::duration(config.storage.retry_for),
        "time for which the upload of a result's files is tried"
        "it is given up; the files stay on the daemon's disk and the result says so";
    CallbackAnswer "callback_answer" None, |_| humane::bytes(crate::callbacks::send::BODY_LIMIT as u64),
        "bytes of a receiver's answer that are read"
        "the connection is closed; the answer's status counts";
    Redirects "redirects" None, |_| crate::executor::download::HOPS.to_string(),
        "redirects that a download follows"
        "the run fails and says so";
    ModelAnswer "model_answer" None, |_| humane::bytes(crate::nodes::llm::LONGEST_ANSWER as u64),
        "bytes of one answer of a language model"
        "the run fails and names the provider";
    FruitlessQuestions "fruitless_questions" None, |_| crate::nodes::llm::MOST_FRUITLESS.to_string(),
        "questions to a language model, one after another, that bring no line it was asked for"
        "no more are asked; the lines that are left keep their text and the result warns of them";
    KeptAnswers "kept_answers" None, |_| humane::bytes(crate::nodes::llm::MOST_KEPT),
        "bytes of a language model's accepted answers that are kept for one node of a task"
        "what was kept is forgotten, and asked again where it is needed";
    Archive "archive" None, |_| humane::bytes(crate::nodes::ARCHIVE_LIMIT),
        "bytes that an archive of pictures holds once it is unpacked"
        "the run fails and says so";
    MediaClock "media_clock" None, |_| format!("{} hours", crate::nodes::SOUND_LIMIT),
        "hours of a file's clock on which sound can lie, silence that is filled in included"
        "the run fails and names the file";
    ManifestFrames "manifest_frames" None, |_| crate::nodes::FRAMES_LIMIT.to_string(),
        "frames that the strips of one manifest stand for when they are read"
        "the run fails before a model is loaded, and names the file";
    Frames "frames" None, |_| crate::nodes::FRAMES_LIMIT.to_string(),
        "packets or frames of one track whose times are read"
        "the run fails and names the file";
    UploadedFile "uploaded_file" Some("files.max_bytes"), |config| humane::bytes(config.files.max_bytes),
        "bytes of one file that is uploaded"
        "413 `too-large`, and what had arrived is removed";
    DownloadedInput "downloaded_input" Some("inputs.max_bytes"), |config| humane::bytes(config.inputs.max_bytes),
        "bytes of one input that a run downloads"
        "the run fails and names the URL, the limit and the setting";
    Callbacks "callbacks" Some("callbacks.max_at_once"), |config| config.callbacks.max_at_once.to_string(),
        "tries of callbacks under way at a time; at most half of them are second ones to a host or go to hosts that did not answer"
        "what is due waits, hosts that were served longest ago first";
    CallbacksOfHost "callbacks_of_host" Some("callbacks.max_per_host"), |config| config.callbacks.max_per_host.to_string(),
        "tries of callbacks under way to one host; a single one once it did not answer"
        "what is due for that host waits";
    CallbackBreaker "callback_breaker" Some("callbacks.breaker_after"), |config| config.callbacks.breaker_after.to_string(),
        "tries in a row that a host may leave without any answer"
        "the host is left alone for `callbacks.breaker_wait`, later up to 16 times as long, then one try shows whether it answers again; waiting uses no try";
    FolderDepth "folder_depth" Some("runs.max_depth"), |config| config.runs.max_depth.to_string(),
        "how deep folders are that a run leaves in its own"
        "the run fails and names the depth and the setting; what is deeper is measured and removed all the same";
    FilesOfRun "files_of_run" Some("runs.max_files"), |config| config.runs.max_files.to_string(),
        "files and folders that a run leaves in its folder"
        "the run fails and names their number and the setting";
    Document "document" Some("inputs.max_document"), |config| humane::bytes(config.inputs.max_document),
        "bytes of a transcript, a subtitle file, a prompt or another document that a run reads whole"
        "the run fails before anything is read, and names the file, its size, the limit and the setting";
    Picture "picture" None, |_| humane::bytes(crate::paths::ReadLimit::PICTURE.bytes),
        "bytes of one picture that a run reads; its pixels may take 512 MiB"
        "the picture is left out and named in the run's result";
    MachineResources "machine_resources" None, |_| "what the system has".into(),
        "file descriptors, memory, processes and disk space that a run needs to begin"
        "the run waits, its stage's message names what it waits for, and it is tried again";
    Input "input" Some("inputs.max_json"), |config| humane::bytes(config.inputs.max_json),
        "bytes of the `input_data` of one request, as JSON"
        "413 `too-large`, which names the field";
    TaskInput "task_input" Some("inputs.max_task"), |config| humane::bytes(config.inputs.max_task),
        "bytes of the `input_data` of all stages of a task together"
        "413 `too-large`, which names the field";
    CallbacksOfRun "callbacks_of_run" Some("callbacks.max_per_run"), |config| config.callbacks.max_per_run.to_string(),
        "distinct callback URLs that wait for one run"
        "409 `too-many-callbacks`";
    ForeignStages "foreign_stages" None, |_| MOST_FOREIGN_STAGES.to_string(),
        "stages of one task that other workers add, beside as many as the catalog has nodes"
        "they are not shown";
    RedisMemory "redis_memory" Some("redis.max_memory"), |config| config.redis.max_memory.map_or_else(|| "a quarter of the machine's".into(), humane::bytes),
        "bytes that the private Redis takes, or another one with a `maxmemory`; from 90 % on nothing new is accepted"
        "503 `redis-full` to what would start a run or wait for a callback; runs under way go on";
}

static REACHED: [AtomicU64; Limit::ALL.len()] = [const { AtomicU64::new(0) }; Limit::ALL.len()];

impl Limit {
    /// Counts that something was refused, cut or put off because of this limit.
    pub fn reached(self) {
        self.reached_times(1);
    }

    /// The same, of some at once.
    pub fn reached_times(self, times: u64) {
        REACHED[self as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// The limit of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.row().name == name)
    }

    /// How often that was so since this daemon started.
    pub fn times_reached(self) -> u64 {
        REACHED[self as usize].load(Ordering::Relaxed)
    }
}

/// Writes `onceover_limit_reached_total` of every limit.
#[derive(Debug)]
pub struct LimitCollector;

impl Collector for LimitCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "How often something was refused, cut or put off because of a limit of docs/limits.md";
        let mut family = encoder.encode_descriptor("onceover_limit_reached", help, None, MetricType::Counter)?;
        for limit in Limit::ALL {
            let labels = [("limit", limit.row().name)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(limit.times_reached()).encode(metric)?;
        }
        Ok(())
    }
}

/// `docs/limits.md`, for the defaults.
pub fn document() -> String {
    let config = Config::default();
    let mut text = include_str!("limits.md").to_owned();
    for limit in Limit::ALL {
        let row = limit.row();
        let setting = row.setting.map_or("fixed".to_owned(), |key| format!("`{key}`"));
        let value = (row.value)(&config);
        text.push_str(&format!(
            "| `{}` | {} | {setting} | {value} | {} |\n",
            row.name, row.bounds, row.refusal
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ONCEOVER_LIMITS=write` writes it; `make limits-docs` does.
    #[test]
    fn every_limit_is_in_the_document() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
        if std::env::var("ONCEOVER_LIMITS").as_deref() == Ok("write") {
            std::fs::write(path, document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == document(), "docs/limits.md is out of date: make limits-docs");
    }

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
