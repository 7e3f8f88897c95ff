//! Candidates for command lines that are completed in a shell: nodes, their parameters and the values of these, tasks,
//! videos and pipelines are read from the daemon. Without an answer there are no candidates.

use std::{env, ffi::OsStr, path::Path, time::Duration};

use clap_complete::CompletionCandidate;
use onceover_catalog::ParameterSpec;
use onceover_types::NodeName;
use onceover_wire::{
    NodeInfo, NodeList,
    address::base_url,
    client::{TaskQuery, TokenSource},
    command_line::variable,
};

use super::connect::{DEFAULT_DAEMON, connect};
use crate::{model::form::format_value, settings::DashboardSettings};

/// Tasks and videos that are read.
const MOST_TASKS: u32 = 100;
const MOST_VIDEOS: u32 = 200;
/// How long a key press may wait for the daemon.
const PATIENCE: Duration = Duration::from_secs(1);

/// Completes the name of a node.
pub fn complete_node(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let nodes = Line::read().ask_nodes().unwrap_or_default();
    let nodes = nodes
        .into_iter()
        .filter(|node| node.name.as_str().starts_with(&*current));
    nodes
        .map(|node| CompletionCandidate::new(node.name.as_str()).help(Some(node.title.into())))
        .collect()
}

/// Completes the id of a task: the newest ones that begin as it does.
pub fn complete_task(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let query = TaskQuery {
        search: (!current.is_empty()).then(|| current.to_string()),
        limit: Some(MOST_TASKS),
        ..TaskQuery::default()
    };
    let page = Line::read().ask(async |client| client.tasks(&query).await.ok());
    let tasks = page.map(|page| page.items).unwrap_or_default().into_iter();
    let tasks = tasks.map(|task| task.task_id.to_string());
    tasks
        .filter(|task| task.starts_with(&*current))
        .map(CompletionCandidate::new)
        .collect()
}

/// Completes the id of a registered video.
pub fn complete_video(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let page = Line::read().ask(async |client| client.videos(MOST_VIDEOS, None).await.ok());
    let videos = page.map(|page| page.items).unwrap_or_default().into_iter();
    videos
        .filter(|video| video.video_id.as_str().starts_with(&*current))
        .map(|video| CompletionCandidate::new(video.video_id.to_string()).help(Some(video.title.into())))
        .collect()
}

/// Completes the name of a pipeline.
pub fn complete_pipeline(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let list = Line::read().ask(async |client| client.pipelines().await.ok());
    let pipelines = list.map(|list| list.pipelines).unwrap_or_default().into_iter();
    pipelines
        .filter(|pipeline| pipeline.name.starts_with(&*current))
        .map(|pipeline| CompletionCandidate::new(pipeline.name).help(Some(pipeline.title.into())))
        .collect()
}

/// Completes a value of `--set`: a parameter of the node on the line, or a value of one.
pub fn complete_assignment(current: &OsStr) -> Vec<CompletionCandidate> {
    let line = Line::read();
    let Some(node) = line.ask_node() else {
        return Vec::new();
    };
    let current = current.to_string_lossy();
    let parameter = |name: &str| node.parameters.iter().find(|parameter| parameter.name == name);
    if let Some((name, typed)) = current.split_once('=') {
        return parameter(name).map_or_else(Vec::new, |parameter| {
            complete_value(parameter, typed, &format!("{name}="))
        });
    }
    // Bash takes `name=value` for three words, and leaves out the second while the third is empty.
    let before = match line.before.as_slice() {
        [.., name, sign] if sign == "=" => Some(name),
        [.., name] => Some(name),
        [] => None,
    };
    if let Some(parameter) = before.and_then(|name| parameter(name)) {
        return complete_value(parameter, &current, "");
    }
    let parameters = node.parameters.iter();
    parameters
        .filter(|parameter| parameter.name.starts_with(&*current))
        .map(|parameter| {
            let help = (!parameter.meaning.is_empty()).then(|| parameter.meaning.clone().into());
            CompletionCandidate::new(format!("{}=", parameter.name)).help(help)
        })
        .collect()
}

fn complete_value(parameter: &ParameterSpec, typed: &str, prefix: &str) -> Vec<CompletionCandidate> {
    let values = parameter.choices().into_iter().map(|value| format_value(&value));
    values
        .filter(|value| value.starts_with(typed))
        .map(|value| CompletionCandidate::new(format!("{prefix}{value}")))
        .collect()
}

/// The line as it is typed so far.
struct Line {
    /// The words before the one that is completed.
    before: Vec<String>,
    settings: DashboardSettings,
}

impl Line {
    fn read() -> Self {
        let mut words: Vec<String> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
        // What stands before the first `--` starts this program.
        let start = words.iter().position(|word| word == "--").map_or(0, |at| at + 1);
        words.drain(..start);
        let index = env::var("_CLAP_COMPLETE_INDEX")
            .ok()
            .and_then(|index| index.parse().ok());
        words.truncate(index.unwrap_or(words.len().saturating_sub(1)));
        // What is wrong in the file is reported when the line is run.
        let named = find_option(&words, "--config");
        let settings = DashboardSettings::load(named.map(Path::new)).unwrap_or_default();
        Self {
            before: words,
            settings,
        }
    }

    /// Finds the node that the line submits.
    fn find_node(&self) -> Option<NodeName> {
        let submit = self.before.iter().position(|word| word == "submit")?;
        let mut rest = self.before.get(submit + 1..)?.iter();
        rest.find_map(|word| NodeName::parse(word).ok().filter(|_| !word.starts_with('-')))
    }

    /// Finds the daemon that the line names, else that of the environment. Bash splits an address at its colons, so
    /// that the line has no colon there.
    fn find_daemon(&self) -> String {
        let given = find_option(&self.before, "--daemon").filter(|url| url.contains(':'));
        let written = given.map(str::to_owned).or_else(|| variable("ONCEOVER_DAEMON"));
        let base = written.and_then(|written| base_url(&written).ok());
        base.or_else(|| self.settings.url.clone())
            .unwrap_or_else(|| DEFAULT_DAEMON.to_owned())
    }

    fn find_tokens(&self) -> TokenSource {
        TokenSource::new(self.settings.token_file.clone())
    }

    fn ask_nodes(&self) -> Option<Vec<NodeInfo>> {
        let NodeList { nodes, .. } = self.ask(async |client| client.nodes().await.ok())?;
        Some(nodes)
    }

    fn ask_node(&self) -> Option<NodeInfo> {
        let node = self.find_node()?;
        self.ask(async |client| client.node(&node).await.ok())
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(onceover_wire::client::Client) -> Option<T>) -> Option<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let client = connect(&self.find_daemon(), self.find_tokens()).ok()?;
        runtime.block_on(async { tokio::time::timeout(PATIENCE, question(client)).await.ok()? })
    }
}

/// Finds the value of an option: the word after it, or what follows its `=`, which Bash takes for a word.
fn find_option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let mut after = words.iter().skip_while(|word| *word != name).skip(1);
    let apart = after.find(|word| *word != "=").map(String::as_str);
    let joined = || words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    apart.or_else(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_option_stands_after_it_or_after_its_sign() {
        for line in ["--config a.toml show", "show --config=a.toml", "--config = a.toml show"] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(find_option(&words, "--config"), Some("a.toml"), "{line}");
            assert_eq!(find_option(&words, "--daemon"), None, "{line}");
        }
    }
}
