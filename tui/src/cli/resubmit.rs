//! `onceover resubmit`: sends stored requests again, and with `--wait` waits for their ends.

use onceover_types::{NodeName, StageState};
use onceover_wire::{SubmitResponse, client::Client};

use super::{
    args::ResubmitArgs,
    bulk::{BulkReport, Done},
    failure::{CommandResult, Failure},
    follow::WaitStyle,
    out::print_warning,
    select::{Selected, SelectedPart, find_newest, select},
    submit::describe_answer,
    watch,
};
use crate::theme::word;

/// A request that was sent again.
struct Resubmitted {
    node: NodeName,
    response: SubmitResponse,
}

/// Runs the command.
pub async fn run(client: &Client, args: ResubmitArgs) -> CommandResult {
    let selected = select(client, &args.selection, SelectedPart::Stage, |target| {
        target.node.is_none()
    })
    .await?;
    let mut sent = Vec::new();
    for selected in &selected {
        sent.push(resubmit(client, selected, &args).await);
    }
    let is_single = args.selection.targets.len() == 1;
    let mut report = BulkReport::new(selected.len(), is_single, args.json);
    // All of them run before the first is waited for.
    for (selected, sent) in selected.iter().zip(sent) {
        let outcome = match sent {
            Ok(sent) => finish(client, sent, args.wait).await,
            Err(failure) => Err(failure),
        };
        report.add(&selected.target.to_string(), outcome)?;
    }
    report.finish()
}

/// Sends the stored request of one stage; a task's is that of its newest stage.
async fn resubmit(client: &Client, selected: &Selected, args: &ResubmitArgs) -> Result<Resubmitted, Failure> {
    let task = &selected.target.task;
    let node = match (&selected.target.node, &selected.task) {
        (Some(node), _) => node.clone(),
        (None, Some(task)) => find_newest(task)?,
        (None, None) => return Err(Failure::new(format!("there is no task {task}"))),
    };
    let response = client.resubmit(task, &node, args.reuse.into()).await?;
    for warning in &response.warnings {
        print_warning(&warning.to_string());
    }
    Ok(Resubmitted { node, response })
}

/// Describes the answer; with a wait, as it is when the run has ended.
async fn finish(client: &Client, sent: Resubmitted, is_awaited: bool) -> Result<Done, Failure> {
    let Resubmitted { node, mut response } = sent;
    let mut note = describe_answer(&response);
    if is_awaited && response.status.in_flight() {
        let task = response.task_id.clone();
        let state = watch::wait_for_end(client, &task, Some(&node), WaitStyle::Bar, |_| Ok(())).await?;
        if state != StageState::Success {
            let ended = Failure::new(format!("{task}/{node} has ended: {}", word(state)));
            return Err(ended.not_successful());
        }
        let status = client.status(&task, Some(&node)).await?;
        response.status = state.into();
        response.result = Some(Box::new(status.result));
        note = format!("{note}  {}", word(state));
    }
    Ok(Done {
        note,
        answer: serde_json::to_value(&response)?,
    })
}
