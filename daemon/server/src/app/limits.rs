//! The values of the daemon's limits, and what `docs/limits.md` is written from.

use onceover_limits::Limit;
use onceover_types::humane;

use crate::config::{Config, ServiceConfig};

/// Returns the value of a limit with its unit, as a configuration sets it.
pub fn value_of(limit: Limit, config: &Config) -> String {
    match limit {
        Limit::Requests => config.access.max_requests.to_string(),
        Limit::Connections => config.access.max_connections.to_string(),
        Limit::HeaderTime => humane::duration(config.access.header_timeout),
        Limit::BodyTime => humane::duration(config.access.body_timeout),
        Limit::IdleTime => humane::duration(config.access.idle_timeout),
        Limit::RequestBody => humane::bytes(crate::http::BODY_LIMIT as u64),
        Limit::BatchItems => crate::http::routes::batch::MOST.to_string(),
        Limit::FormText => humane::bytes(crate::http::routes::files::upload::LONGEST_TEXT as u64),
        Limit::Warnings => onceover_wire::MOST_WARNINGS.to_string(),
        Limit::ResultWarnings => onceover_run::warnings::MOST_WARNINGS.to_string(),
        Limit::UnknownFields => crate::services::unread::MOST_REFUSED.to_string(),
        Limit::RunsAtOnce => "cpu = cores, gpu = 1, io = 4, llm = 4".to_owned(),
        Limit::LostRuns => config.runs.max_lost.to_string(),
        Limit::LostWorkers => ServiceConfig::default().max_attempts.to_string(),
        Limit::MessageProcesses => crate::dispatch::MOST_PROCESSES.to_string(),
        Limit::WorkerMessage => humane::bytes(onceover_celery::LARGEST_MESSAGE as u64),
        Limit::WorkerResult => humane::bytes(onceover_celery::LARGEST_RESULT as u64),
        Limit::SearchedMessages => onceover_celery::MOST_SEARCHED.to_string(),
        Limit::KnownWorkers => crate::dispatch::MOST_WORKERS.to_string(),
        Limit::StagesOnWorkers => crate::services::MOST_STAGES.to_string(),
        Limit::RunLog => humane::bytes(onceover_run::log::DEFAULT_LIMIT),
        Limit::OutputLine => humane::bytes(crate::executor::command::LINE_LIMIT as u64),
        Limit::RecordedFiles => crate::services::artifacts::LIMIT.to_string(),
        Limit::ComparedEntries => crate::evidence::MOST_ENTRIES.to_string(),
        Limit::KeptEvents => config.retention.events.to_string(),
        Limit::RunsPerStage => config.retention.runs_per_stage.to_string(),
        Limit::HistoryBytes => humane::bytes(onceover_store::MOST_RUN_BYTES),
        Limit::Needs => onceover_store::MOST_NEEDS.to_string(),
        Limit::ForeignChanges => crate::services::MOST_CHANGED.to_string(),
        Limit::KeptCallbacks => config.callbacks.keep.to_string(),
        Limit::CallbackTries => config.callbacks.schedule.len().to_string(),
        Limit::CallbackTime => humane::duration(config.callbacks.timeout),
        Limit::InputTime => humane::duration(config.inputs.timeout),
        Limit::UploadTime => humane::duration(config.storage.retry_for),
        Limit::CallbackAnswer => humane::bytes(crate::webhooks::send::BODY_LIMIT as u64),
        Limit::Redirects => crate::downloads::HOPS.to_string(),
        Limit::ModelAnswer => humane::bytes(onceover_nodes::llm::LONGEST_ANSWER as u64),
        Limit::FruitlessQuestions => onceover_nodes::llm::MOST_FRUITLESS.to_string(),
        Limit::KeptAnswers => humane::bytes(onceover_nodes::llm::MOST_KEPT),
        Limit::Archive => humane::bytes(onceover_nodes::ARCHIVE_LIMIT),
        Limit::MediaClock => format!("{} hours", onceover_nodes::SOUND_LIMIT),
        Limit::ManifestFrames => onceover_nodes::FRAMES_LIMIT.to_string(),
        Limit::Frames => onceover_nodes::FRAMES_LIMIT.to_string(),
        Limit::UploadedFile => humane::bytes(config.files.max_bytes),
        Limit::CueFile => humane::bytes(crate::http::routes::files::cues::LARGEST_FILE),
        Limit::DownloadedInput => humane::bytes(config.inputs.max_bytes),
        Limit::Callbacks => config.callbacks.max_at_once.to_string(),
        Limit::CallbacksOfHost => config.callbacks.max_per_host.to_string(),
        Limit::CallbackBreaker => config.callbacks.breaker_after.to_string(),
        Limit::FolderDepth => config.runs.max_depth.to_string(),
        Limit::FilesOfRun => config.runs.max_files.to_string(),
        Limit::Document => humane::bytes(config.inputs.max_document),
        Limit::Picture => humane::bytes(onceover_run::paths::ReadLimit::PICTURE.bytes),
        Limit::MachineResources => "what the system has".into(),
        Limit::Input => humane::bytes(config.inputs.max_json),
        Limit::TaskInput => humane::bytes(config.inputs.max_task),
        Limit::CallbacksOfRun => config.callbacks.max_per_run.to_string(),
        Limit::ForeignStages => onceover_store::MOST_FOREIGN_STAGES.to_string(),
        Limit::RedisMemory => bytes_or(config.redis.max_memory, "a quarter of the machine's"),
        Limit::WarmProcesses => config.warm.max_processes.to_string(),
        Limit::WarmRuns => config.warm.max_runs.to_string(),
        Limit::WarmGrowth => humane::bytes(config.warm.max_growth),
        Limit::WarmMemory => bytes_or(config.warm.max_memory, "half of the machine's"),
        Limit::WarmGpuMemory => bytes_or(config.warm.gpu_memory, "what the GPU has"),
    }
}

/// Returns the bytes that are set, or what counts otherwise.
fn bytes_or(set: Option<u64>, otherwise: &str) -> String {
    set.map_or_else(|| otherwise.to_owned(), humane::bytes)
}

/// `docs/limits.md`, for the defaults.
pub fn document() -> String {
    let config = Config::default();
    let mut text = include_str!("limits.md").to_owned();
    for limit in Limit::ALL {
        let row = limit.row();
        let setting = row.setting.map_or("fixed".to_owned(), |key| format!("`{key}`"));
        let value = value_of(*limit, &config);
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
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
        if std::env::var("ONCEOVER_LIMITS").as_deref() == Ok("write") {
            std::fs::write(path, document()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == document(), "docs/limits.md is out of date: make limits-docs");
    }
}
