//! `onceover delete`: removes tasks with their records and files, after asking.

use onceover_wire::{DeleteReport, DeletionStatus, ResourceOutcome, client::Client};

use super::{
    args::DeleteArgs,
    bulk::{BulkReport, Done, confirm, describe_target},
    failure::{CommandResult, Failure},
    select::{Selected, SelectedPart, select},
};

/// Runs the command.
pub async fn run(client: &Client, args: DeleteArgs) -> CommandResult {
    let is_stage = |target: &&super::args::TargetId| target.node.is_some();
    if let Some(target) = args.selection.targets.iter().find(is_stage) {
        return Err(Failure::new(format!(
            "{target} is a stage, and only whole tasks can be deleted: name {}",
            target.task
        )));
    }
    let selected = select(client, &args.selection, SelectedPart::Task, |_| !args.yes).await?;
    let lines: Vec<_> = selected.iter().map(describe_target).collect();
    let question = "Delete these tasks for good, with the records of every stage, all files and logs?";
    if !confirm(question, &lines, args.yes)? {
        return Ok(false);
    }
    let mut report = BulkReport::new(selected.len(), args.selection.targets.len() == 1, args.json);
    for selected in &selected {
        let outcome = delete(client, selected, args.force).await;
        report.add(&selected.target.to_string(), outcome)?;
    }
    report.finish()
}

async fn delete(client: &Client, selected: &Selected, force: bool) -> Result<Done, Failure> {
    let report = client.delete(&selected.target.task, force).await?;
    if report.status != DeletionStatus::Success {
        return Err(Failure::new(describe_failure(&report)));
    }
    Ok(Done {
        note: "deleted".to_owned(),
        answer: serde_json::to_value(&report)?,
    })
}

/// Says what could not be deleted, and why.
fn describe_failure(report: &DeleteReport) -> String {
    let failed = report.results.iter();
    let failed: Vec<_> = failed
        .filter(|resource| resource.status == ResourceOutcome::Failed)
        .map(|resource| format!("{}: {}", resource.resource, resource.message))
        .collect();
    format!("{}: {}", report.status, failed.join("; "))
}
