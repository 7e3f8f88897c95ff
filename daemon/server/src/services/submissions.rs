//! Submits: a request is checked, decided and answered, and what became of it is counted and logged.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};
use onceover_wire::{ReuseInfo, ReuseMode, SubmitRequest, SubmitResponse};
use tokio_util::sync::CancellationToken;

use super::{
    CheckedRequest, ServiceError, SubmitDraft, decisions::Decisions, hit_answers::SubmitAnswer,
    other_engine::warn_of_other_engine, request::RequestChecks, task_views::TaskViews, unread::WarningLog,
};
use crate::{config::UnknownFields, metrics::Metrics};

/// Where submits are counted, and their warnings written.
pub struct SubmitReports {
    pub metrics: Metrics,
    pub warning_log: Arc<WarningLog>,
}

/// Takes submits.
pub struct Submissions {
    checks: RequestChecks,
    decisions: Decisions,
    views: TaskViews,
    reports: SubmitReports,
    /// Cancelled once the daemon takes no new work.
    draining: CancellationToken,
}

impl Submissions {
    pub fn new(
        checks: RequestChecks,
        decisions: Decisions,
        views: TaskViews,
        reports: SubmitReports,
        draining: CancellationToken,
    ) -> Self {
        Self {
            checks,
            decisions,
            views,
            reports,
            draining,
        }
    }

    /// Refuses new work once the daemon is stopping.
    pub fn check_open(&self) -> Result<(), ServiceError> {
        match self.draining.is_cancelled() {
            true => Err(ServiceError::Draining),
            false => Ok(()),
        }
    }

    /// Checks a request as a client sent it. `unknown` says what becomes of fields that nothing reads.
    pub fn check_request(
        &self,
        draft: impl Into<SubmitDraft>,
        unknown: UnknownFields,
    ) -> Result<CheckedRequest, ServiceError> {
        self.checks.check_request(draft, unknown)
    }

    /// Decides a checked request: a hit, a run to wait for, or a new one. Reports what became of it.
    pub async fn submit_request(&self, request: &CheckedRequest) -> Result<SubmitResponse, ServiceError> {
        Ok(self.answer_request(request).await?.into_response())
    }

    /// Does the same for a caller that can send an answer which is shared with other requests.
    pub async fn answer_request(&self, request: &CheckedRequest) -> Result<SubmitAnswer, ServiceError> {
        self.check_open()?;
        let decided = self.decisions.decide(request).await;
        let decided = decided.map(|answer| {
            let other_engine = warn_of_other_engine(request, answer.response(), self.checks.providers());
            let warnings: Vec<_> = request.warnings.iter().cloned().chain(other_engine).collect();
            answer.with_warnings(&warnings)
        });
        self.report(request, &decided);
        decided
    }

    /// Counts and logs what became of a request.
    fn report(&self, request: &CheckedRequest, decided: &Result<SubmitAnswer, ServiceError>) {
        let SubmitReports { metrics, warning_log } = &self.reports;
        let node = request.node.name.as_str();
        match decided {
            Ok(answer) => {
                let response = answer.response();
                metrics.submitted(&response.reuse_info);
                log_submit(&response.task_id, request, &response.reuse_info);
                warning_log.write(response.task_id.as_str(), node, &response.warnings);
            }
            Err(ServiceError::OtherInput { node, .. }) => metrics.refused(node.as_str(), "input_changed"),
            Err(ServiceError::NotReady { node, .. }) => metrics.refused(node.as_str(), "not_ready"),
            Err(ServiceError::KeyReused) => metrics.refused(node, "key_reused"),
            Err(ServiceError::Superseded | ServiceError::AlreadyAsked) => {}
            Err(ServiceError::Invalid(_)) => metrics.refused(node, "input_missing"),
            Err(_) => metrics.undecided(node),
        }
    }

    /// Submits the stored request of a stage again, under the same task.
    pub async fn resubmit_stage(
        &self,
        task: &TaskId,
        node: Option<&NodeName>,
        reuse: ReuseMode,
    ) -> Result<SubmitResponse, ServiceError> {
        let records = self.views.read_records(task).await?;
        let newest = records
            .newest()
            .or_else(|| records.stages.last().map(|(name, _)| name.clone()))
            .or_else(|| self.views.held(&records).stages.last().map(|(name, _)| name.clone()));
        let Some(node) = node.cloned().or(newest).filter(|_| !records.is_empty()) else {
            return Err(ServiceError::UnknownTask(task.clone()));
        };
        let Some((input, callback)) = self.views.stored_request(task, &records, &node)? else {
            return Err(ServiceError::UnknownStage {
                task: task.clone(),
                node,
            });
        };
        let stored = SubmitRequest {
            task_name: node.to_string(),
            task_id: Some(task.to_string()),
            callback,
            input_data: input,
            reuse: Some(reuse),
        };
        // It was accepted once, so what is unknown in it is no reason to refuse it now.
        let request = self.checks.check_request(stored, UnknownFields::Warn)?;
        self.submit_request(&request).await
    }
}

/// Logs what became of a request: a new run at `info`, since it is the beginning of a run's life.
fn log_submit(task: &TaskId, request: &CheckedRequest, reuse: &ReuseInfo) {
    let node = &request.node.name;
    let has_callback = request.callback.is_some();
    match (reuse.reuse_hit, &reuse.run_id) {
        (false, Some(run)) => {
            let reason = reuse.reason.as_deref();
            tracing::info!(task_id = %task, task_name = %node, run_id = %run, reason, has_callback, "run submitted");
        }
        (_, Some(run)) => {
            tracing::debug!(task_id = %task, task_name = %node, run_id = %run, has_callback, "run joined");
        }
        (_, None) => tracing::debug!(task_id = %task, task_name = %node, has_callback, "result reused"),
    }
}
