//! The whole catalog: shipped nodes, those of node files and of the configuration, with configured defaults.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use onceover_catalog::{Catalog, Needs, NodeSpec, QueueSpec, RunnerSpec, parse_node};

use crate::config::{Config, ServiceConfig, ServiceRunner, dispatch_queue};
use onceover_catalog::shipped::shipped;
use onceover_nodes as nodes;

/// Every node as this daemon runs it: as [`load_local_catalog`] has it, and those of services that are run by Celery workers
/// as tasks of these, in the queue that leads there.
pub fn load_catalog(config: &Config) -> anyhow::Result<Catalog> {
    assign_services(&load_local_catalog(config)?, config)
}

/// Makes nodes tasks of Celery workers, whose services the configuration says that of. What such a node needs must be with
/// the workers, and is not looked for here.
pub fn assign_services(catalog: &Catalog, config: &Config) -> anyhow::Result<Catalog> {
    let mut assigned = Catalog::default();
    for node in catalog.iter() {
        let mut node = node.clone();
        let name = node.name.service();
        match (workers_of(&node, config), &node.runner) {
            (Some(service), runner) => {
                let task = match (&service.task, runner) {
                    (None, RunnerSpec::Celery(task)) => task.clone(),
                    _ => service.task(&node.name),
                };
                node.queue = QueueSpec::One(dispatch_queue(&service.queue(name)));
                node.runner = RunnerSpec::Celery(task);
                node.needs = Needs::default();
                for variant in &mut node.variants {
                    (variant.runner, variant.queue, variant.needs) = (None, None, None);
                }
            }
            (_, RunnerSpec::Celery(_)) => bail!(
                "node {}: it is run by Celery workers; say where they are, in [services.{name}] with runner = \"celery\" \
                 and broker",
                node.name
            ),
            _ => {}
        }
        assigned.insert(node);
    }
    Ok(assigned)
}

/// The service whose Celery workers run a node; None where this daemon runs it.
fn workers_of<'a>(node: &NodeSpec, config: &'a Config) -> Option<&'a ServiceConfig> {
    let service = config.services.get(node.name.service())?;
    (service.runner == ServiceRunner::Celery && service.can_run(node)).then_some(service)
}

/// Every node as it runs on this machine: the shipped ones, then those of `node_dirs`, then the configuration's, of one name the last; with
/// the defaults of its profile and its own. An error for people names the file where there is one.
pub fn load_local_catalog(config: &Config) -> anyhow::Result<Catalog> {
    let mut catalog = shipped();
    for dir in &config.node_dirs {
        for path in toml_files("node_dirs", dir)? {
            let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let mut node = parse_node(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            beside(&mut node, &path);
            check(&node, config).with_context(|| path.display().to_string())?;
            catalog.insert(node);
        }
    }
    for node in &config.nodes {
        let mut node = node.clone();
        if let Some(file) = config.file() {
            beside(&mut node, file);
        }
        check(&node, config)?;
        catalog.insert(node);
    }
    for node in catalog.iter() {
        check(node, config)?;
    }
    if let Some(profile) = config.profile {
        // The profile is of this machine, and not of those that workers run on.
        catalog.take_profile(profile, |node| workers_of(node, config).is_none());
    }
    set_defaults(&mut catalog, config)?;
    Ok(catalog)
}

/// The `*.toml` files of a folder that a key of the configuration names, by name.
pub fn toml_files(key: &str, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("{key}: {} cannot be read", dir.display()))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"))
        .collect();
    files.sort();
    Ok(files)
}

/// What a node's runner names that lies beside its file becomes that file.
fn beside(node: &mut NodeSpec, file: &Path) {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let Some(dir) = file.parent() else { return };
    let place = |word: &mut String| {
        let path = dir.join(&word);
        if !word.is_empty() && Path::new(&word).is_relative() && path.is_file() {
            *word = path.display().to_string();
        }
    };
    let variants = node.variants.iter_mut();
    for runner in variants
        .filter_map(|variant| variant.runner.as_mut())
        .chain([&mut node.runner])
    {
        match runner {
            RunnerSpec::Command(words) => words.iter_mut().for_each(place),
            RunnerSpec::Python(program) => place(program),
            RunnerSpec::Builtin(_) | RunnerSpec::Celery(_) => {}
        }
    }
}

fn check(node: &NodeSpec, config: &Config) -> anyhow::Result<()> {
    let slots = config.slots();
    let variants = node.variants.iter();
    let queues = variants
        .filter_map(|variant| variant.queue.as_ref())
        .chain([&node.queue]);
    if let Some(queue) = queues
        .flat_map(QueueSpec::names)
        .find(|name| !slots.contains_key(*name))
    {
        let known: Vec<_> = slots.keys().map(String::as_str).collect();
        bail!(
            "node {}: there is no queue '{queue}'; there are {}, and slots.{queue} = N makes it one",
            node.name,
            known.join(", "),
        );
    }
    let variants = node.variants.iter();
    for runner in variants
        .filter_map(|variant| variant.runner.as_ref())
        .chain([&node.runner])
    {
        check_runner(node, runner)?;
    }
    if let Some(fault) = node.faults().first() {
        bail!("node {}: {fault}", node.name);
    }
    Ok(())
}

fn check_runner(node: &NodeSpec, runner: &RunnerSpec) -> anyhow::Result<()> {
    match runner {
        RunnerSpec::Builtin(name) if nodes::builtin(name).is_none() => {
            let names = nodes::names();
            bail!("node {}: there is no builtin '{name}'; there are {names}", node.name);
        }
        RunnerSpec::Command(command) if command.is_empty() => {
            bail!("node {}: runner.command needs a program", node.name);
        }
        _ => {}
    }
    Ok(())
}

fn set_defaults(catalog: &mut Catalog, config: &Config) -> anyhow::Result<()> {
    for (name, values) in &config.defaults {
        let at = config.line(name.span().start);
        let Some(node) = catalog.get(name.get_ref()) else {
            bail!(
                "{at}defaults: {}",
                catalog.no_such_node(name.get_ref(), "`onceoverd nodes`")
            );
        };
        let mut node = node.clone();
        for (name, value) in values {
            let at = config.line(name.span().start);
            let of = format!("{at}defaults.\"{}\"", node.name);
            let parameter = node
                .parameters
                .iter_mut()
                .find(|parameter| parameter.name == *name.get_ref());
            let Some(parameter) = parameter else {
                let names: Vec<_> = node
                    .parameters
                    .iter()
                    .map(|parameter| parameter.name.as_str())
                    .collect();
                bail!(
                    "{of}: there is no parameter '{}'; there are {}",
                    name.get_ref(),
                    names.join(", ")
                );
            };
            if let Some(why) = parameter.refusal(value.get_ref()) {
                bail!("{of}.{}: {why}", parameter.name);
            }
            parameter.set_default(value.get_ref().clone());
        }
        catalog.insert(node);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onceover_catalog::QueueSpec;
    use serde_json::json;

    use super::*;

    fn load(dir: &Path, text: &str) -> Result<Catalog, String> {
        let file = dir.join("onceover.toml");
        fs::write(&file, text).unwrap();
        let config = Config::load(Some(&file)).map_err(|error| error.to_string())?;
        load_catalog(&config).map_err(|error| onceover_types::causes(error.as_ref()))
    }

    #[test]
    fn defaults_are_replaced_and_their_errors_name_line_and_what_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = load(
            dir.path(),
            "[defaults.'ffmpeg.split_audio_segments']\noutput_format = 'flac'\nsample_rate = 48000\n",
        )
        .unwrap();
        let node = catalog.get("ffmpeg.split_audio_segments").unwrap();
        assert_eq!(node.parameter("output_format").unwrap().default, Some(json!("flac")));
        assert_eq!(node.parameter("channels").unwrap().default, Some(json!(1)));
        for (wrong, named) in [
            (
                "[defaults.'ffmpeg.extract_adio']\nx = 1",
                ["line 1", "'ffmpeg.extract_adio'", "did you mean ffmpeg.extract_audio?"],
            ),
            (
                "[defaults.'ffmpeg.split_audio_segments']\noutput_format = 'wav'\nformat = 1",
                ["line 3", "'format'", "output_format"],
            ),
            (
                "\n[defaults.'ffmpeg.split_audio_segments']\noutput_format = 'ogg'",
                ["line 3", "output_format", "\"flac\""],
            ),
            (
                "[defaults.'ffmpeg.split_audio_segments']\nsample_rate = 'high'",
                ["line 2", "sample_rate", "an integer"],
            ),
        ] {
            let error = load(dir.path(), wrong).unwrap_err();
            assert!(named.iter().all(|named| error.contains(named)), "{error}");
            assert!(error.contains("onceover.toml"), "{error}");
        }
    }

    #[test]
    fn a_profile_has_its_defaults_which_give_way_to_configured_ones_and_are_not_those_of_workers() {
        let dir = tempfile::tempdir().unwrap();
        let node = "faster_whisper.transcribe_audio";
        let model = |text: &str| {
            let catalog = load(dir.path(), text).unwrap();
            let default = catalog
                .get(node)
                .unwrap()
                .parameter("model_name")
                .unwrap()
                .default
                .clone();
            default.unwrap()
        };
        let (small, large) = (
            json!("Systran/faster-whisper-base"),
            json!("Systran/faster-whisper-large-v3"),
        );
        assert_eq!(model("profile = 'cpu'"), small);
        for unchanged in ["", "profile = 'cuda'"] {
            assert_eq!(model(unchanged), large, "{unchanged}");
        }
        let defaults = format!("[defaults.'{node}']\nmodel_name = 'medium'\n");
        assert_eq!(model(&format!("profile = 'cpu'\n{defaults}")), json!("medium"));
        let workers = "[services.faster_whisper]\nrunner = 'celery'\nbroker = 'redis://box/0'\n";
        assert_eq!(model(&format!("profile = 'cpu'\n{workers}")), large);
    }

    #[test]
    fn one_line_moves_the_nodes_of_a_service_to_workers_and_nothing_they_need_is_looked_for_here() {
        let dir = tempfile::tempdir().unwrap();
        let services = "[services.ffmpeg]\nbroker = 'redis://box/0'\n";
        let local = load(dir.path(), services).unwrap();
        let sent = load(dir.path(), &format!("{services}runner = 'celery'\n")).unwrap();
        let (node, audio) = (
            "ffmpeg.extract_audio",
            RunnerSpec::Celery("ffmpeg.extract_audio".into()),
        );
        assert_ne!(local.get(node).unwrap().runner, audio);
        let sent_node = sent.get(node).unwrap();
        assert_eq!(sent_node.runner, audio);
        assert_eq!(sent_node.queue, QueueSpec::One("celery:ffmpeg_queue".into()));
        assert!(sent_node.needs.is_empty());
        assert_eq!(sent_node.parameters, local.get(node).unwrap().parameters);
        let elsewhere = "paddleocr.detect_subtitle_area";
        assert_eq!(sent.get(elsewhere), local.get(elsewhere), "another service");
    }

    #[test]
    fn a_node_that_only_workers_have_needs_a_service_with_workers() {
        let dir = tempfile::tempdir().unwrap();
        let node = "[[nodes]]\nname = 'mine.remote'\nrunner = { celery = 'tasks.remote' }\n";
        let error = load(dir.path(), node).unwrap_err();
        assert!(
            error.contains("mine.remote") && error.contains("[services.mine]"),
            "{error}"
        );
        let service = "[services.mine]\nrunner = 'celery'\nbroker = 'redis://box/0'\nqueue = 'far'\n";
        let catalog = load(dir.path(), &format!("{node}{service}")).unwrap();
        let node = catalog.get("mine.remote").unwrap();
        assert_eq!(node.runner, RunnerSpec::Celery("tasks.remote".into()));
        assert_eq!(node.queue, QueueSpec::One("celery:far".into()));
    }

    #[test]
    fn a_node_is_a_file_in_a_folder_and_its_program_the_one_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let nodes = dir.path().join("nodes");
        fs::create_dir(&nodes).unwrap();
        for program in ["loudness.py", "peak.sh", "model.py"] {
            fs::write(nodes.join(program), "").unwrap();
        }
        let write = |name: &str, text: &str| fs::write(nodes.join(name), text).unwrap();
        write(
            "a.toml",
            "name = 'mine.loudness'\nrunner = { command = ['python3', 'loudness.py', '--x'] }",
        );
        write("b.toml", "name = 'mine.peak'\nrunner = { command = ['peak.sh'] }");
        write("c.toml", "name = 'mine.model'\nrunner = { python = 'model.py' }");
        write(
            "d.toml",
            "name = 'ffmpeg.extract_audio'\nqueue = 'io'\nrunner = { builtin = 'ffmpeg.extract_audio' }",
        );
        let config = format!("node_dirs = ['{}']", nodes.display());
        let catalog = load(dir.path(), &config).unwrap();
        let at = |program: &str| nodes.join(program).display().to_string();
        let runner = |name: &str| catalog.get(name).unwrap().runner.clone();
        assert_eq!(
            runner("mine.loudness"),
            RunnerSpec::Command(vec!["python3".into(), at("loudness.py"), "--x".into()])
        );
        assert_eq!(runner("mine.peak"), RunnerSpec::Command(vec![at("peak.sh")]));
        assert_eq!(runner("mine.model"), RunnerSpec::Python(at("model.py")));
        let audio = catalog.get("ffmpeg.extract_audio").unwrap();
        assert_eq!(audio.queue, QueueSpec::One("io".into()));

        write(
            "e.toml",
            "name = 'mine.odd'\nrunner = { command = ['true'] }\ntitel = 'x'",
        );
        let error = load(dir.path(), &config).unwrap_err();
        assert!(
            error.contains("e.toml") && error.contains("line 3") && error.contains("title"),
            "{error}"
        );
        write(
            "e.toml",
            "name = 'mine.odd'\nqueue = 'fast'\nrunner = { command = ['true'] }",
        );
        let error = load(dir.path(), &config).unwrap_err();
        assert!(error.contains("e.toml") && error.contains("'fast'"), "{error}");
        fs::remove_file(nodes.join("e.toml")).unwrap();
        let inline = "[[nodes]]\nname = 'mine.inline'\nqueue = 'fast'\nrunner = { command = ['true'] }";
        let error = load(dir.path(), inline).unwrap_err();
        assert!(
            error.contains("'fast'") && error.contains("cpu, gpu, io, llm"),
            "{error}"
        );
        assert!(load(dir.path(), &format!("[slots]\nfast = 2\n{inline}")).is_ok());
        let error = load(dir.path(), "node_dirs = ['/no/such/folder']").unwrap_err();
        assert!(
            error.contains("node_dirs") && error.contains("/no/such/folder"),
            "{error}"
        );
    }
}
