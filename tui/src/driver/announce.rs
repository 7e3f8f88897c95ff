//! Runs the command that announces an end. It is started without a shell, and its failure is reported on the screen.

use std::{process::Stdio, time::Duration};

use onceover_wire::client::TOKEN_VARIABLE;
use tokio::{process::Command, time::timeout};

use crate::update::Announcement;

/// How long the command may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command with title and body as its last arguments. Returns why it failed.
pub async fn run_command(command: &[String], announcement: &Announcement) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    let started = Command::new(program)
        .args(arguments)
        .args([&announcement.title, &announcement.body])
        .env_remove(TOKEN_VARIABLE)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = started.map_err(|error| format!("notify.command: {program} could not be started: {error}"))?;
    match timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("notify.command: {program} failed: {status}")),
        Ok(Err(error)) => Err(format!("notify.command: {program} could not be waited for: {error}")),
        Err(_) => Err(format!(
            "notify.command: {program} took more than {} s",
            PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tui25_a_command_gets_its_text_as_arguments_and_its_failure_is_reported() {
        let announcement = Announcement {
            title: "film; touch never".to_owned(),
            body: "$(touch never)".to_owned(),
        };
        let run = async |words: &[&str]| {
            let command: Vec<_> = words.iter().map(ToString::to_string).collect();
            run_command(&command, &announcement).await
        };
        let check = "test \"$1\" = 'film; touch never' && test \"$2\" = '$(touch never)'";
        assert_eq!(run(&["sh", "-c", check, "name"]).await, Ok(()));
        assert!(run(&["false"]).await.unwrap_err().contains("false failed"));
        assert!(
            run(&["/no/such/program"])
                .await
                .unwrap_err()
                .contains("could not be started")
        );
    }
}
