//! `onceover resubmit`: sends stored requests again, and with `--wait` waits for their ends.

use onceover_types::{NodeName, StageState, TaskId};
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

/// Runs the command.
pub async fn run(client: &Client, args: ResubmitArgs) -> CommandResult {
    let selected = select(client, &args.selection, SelectedPart::Stage).await?;
    let is_single = args.selection.targets.len() == 1;
    let mut report = BulkReport::new(selected.len(), is_single, args.json);
    for selected in &selected {
        let outcome = resubmit(client, selected, &args).await;
        report.add(&selected.target.to_string(), outcome)?;
    }
    report.finish()
}

/// Sends the stored request of one stage; a task's is that of its newest stage.
async fn resubmit(client: &Client, selected: &Selected, args: &ResubmitArgs) -> Result<Done, Failure> {
    let task = &selected.target.task;
    let node = match (&selected.target.node, &selected.task) {
        (Some(node), _) => node.clone(),
        (None, Some(task)) => find_newest(task)?,
        (None, None) => return Err(Failure::new(format!("there is no task {task}"))),
    };
    let mut response = client.resubmit(task, &node, args.reuse.into()).await?;
    for warning in &response.warnings {
        print_warning(&warning.to_string());
    }
    let mut note = describe_answer(&response);
    if args.wait && response.status.in_flight() {
        let state = wait(client, task, &node, &mut response).await?;
        note = format!("{note}  {}", word(state));
        if state != StageState::Success {
            return Err(Failure::new(format!("{task}/{node} has ended: {}", word(state))));
        }
    }
    Ok(Done {
        note,
        answer: serde_json::to_value(&response)?,
    })
}

/// Waits for the end of the run. The answer becomes what it would be now.
async fn wait(
    client: &Client,
    task: &TaskId,
    node: &NodeName,
    response: &mut SubmitResponse,
) -> Result<StageState, Failure> {
    let state = watch::wait_for_end(client, task, Some(node), WaitStyle::Bar, |_| Ok(())).await?;
    let status = client.status(task, Some(node)).await?;
    response.status = state.into();
    response.result = Some(Box::new(status.result));
    Ok(state)
}
