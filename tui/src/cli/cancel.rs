//! `onceover cancel`: ends runs that wait or run, after asking.

use onceover_wire::client::Client;

use super::{
    args::CancelArgs,
    bulk::{BulkReport, Done, confirm, describe_target},
    failure::{CommandResult, Failure},
    select::{Selected, SelectedPart, select},
};

/// Runs the command.
pub async fn run(client: &Client, args: CancelArgs) -> CommandResult {
    let selected = select(client, &args.selection, SelectedPart::StageInFlight, |_| !args.yes).await?;
    let lines: Vec<_> = selected.iter().map(describe_target).collect();
    if !confirm("Cancel what waits or runs of these?", &lines, args.yes)? {
        return Ok(false);
    }
    let mut report = BulkReport::new(selected.len(), args.selection.targets.len() == 1, args.json);
    for selected in &selected {
        let outcome = cancel(client, selected).await;
        report.add(&selected.target.to_string(), outcome)?;
    }
    report.finish()
}

async fn cancel(client: &Client, selected: &Selected) -> Result<Done, Failure> {
    let target = &selected.target;
    let response = match &target.node {
        Some(node) => client.cancel_stage(&target.task, node).await?,
        None => client.cancel(&target.task).await?,
    };
    Ok(Done {
        note: response.message.clone(),
        answer: serde_json::to_value(&response)?,
    })
}
