//! `onceoverd nodes`: what nodes there are, what each lacks here, and getting it.

use std::{process::Command, time::Duration};

use anyhow::{Context, bail};
use onceover_catalog::{Catalog, DeviceQueues, Hub, NodeSpec, ParameterSpec};
use onceover_types::{Missing, NodeName, humane};
use serde_json::Map;

use crate::catalog::load_catalog;
use crate::{app::readiness, config::Config, console::print_line, readiness::Readiness};

pub(super) fn load(config: &Config) -> anyhow::Result<(Catalog, Readiness)> {
    let catalog = load_catalog(config)?;
    let readiness = readiness(config, &catalog)?;
    Ok((catalog, readiness))
}

/// Prints every node: name, queue, runner, whether it is ready, and how to get what is missing.
pub fn list(config: &Config) -> anyhow::Result<()> {
    let (catalog, readiness) = load(config)?;
    let width = catalog
        .iter()
        .map(|node| node.name.as_str().len())
        .max()
        .unwrap_or_default();
    for node in catalog.iter() {
        let missing = readiness.missing(node, &Map::new());
        let ready = match missing.first() {
            None => "ready".to_owned(),
            Some(first) => format!("needs {}: {}{}", first.what, first.how, and_more(&missing)),
        };
        print_line!(
            "{:width$}  {:4}  {:8}  {ready}",
            node.name.as_str(),
            node.queue_for(&Map::new(), readiness.gpu()),
            node.runner.kind()
        );
    }
    Ok(())
}

fn and_more(missing: &[Missing]) -> String {
    match missing.len() {
        0 | 1 => String::new(),
        count => format!("  (and {} more)", count - 1),
    }
}

/// Prints one node with all it takes and gives.
pub fn show(config: &Config, name: &str) -> anyhow::Result<()> {
    let (catalog, readiness) = load(config)?;
    let node = find(&catalog, name)?;
    print_line!("{}  {}", node.name, node.title);
    print_line!("{}", node.purpose);
    print_line!("");
    let limit = humane::duration(Duration::from_secs(node.timeout_seconds));
    let by_device = node.queue.by_device();
    let by_device = by_device.map_or_else(String::new, DeviceQueues::here_in_words);
    let queue = node.queue_for(&Map::new(), readiness.gpu());
    print_line!("queue      {queue}{by_device}, at most {limit}");
    let warm = match node.runner.is_warm() && config.warm.enabled {
        true => format!(
            ", keeps its model between runs for {}",
            humane::duration(config.warm.idle)
        ),
        false => String::new(),
    };
    print_line!("runner     {}{warm}", node.runner.kind());
    let fields = if node.reuse_fields.is_empty() {
        "an output that is not empty".to_owned()
    } else {
        node.reuse_fields.join(", ")
    };
    print_line!("reuse      {}, by {fields}", node.reuse.as_str());
    if let Some(tested) = &node.tested {
        print_line!("tested     {tested}");
    }
    let missing = readiness.missing(node, &Map::new());
    if missing.is_empty() {
        print_line!("readiness  ready");
    }
    for missing in &missing {
        print_line!("readiness  needs {}", missing.what);
        print_line!("           {}", missing.how);
    }
    if !node.parameters.is_empty() {
        print_line!("\nparameters");
    }
    for parameter in &node.parameters {
        print_line!("  {}  {}", parameter.name, in_short(parameter));
        print_line!("      {}", parameter.meaning);
        for fallback in &parameter.fallbacks {
            print_line!("      else {} of {}", fallback.field, fallback.node);
        }
    }
    for group in &node.one_of {
        print_line!("  at least one of {}", group.join(", "));
    }
    if !node.outputs.is_empty() {
        print_line!("\noutputs");
    }
    for output in &node.outputs {
        print_line!("  {}  {}: {}", output.name, output.kind.in_words(), output.meaning);
    }
    Ok(())
}

/// Type, default and limits of a parameter in one line.
fn in_short(parameter: &ParameterSpec) -> String {
    let mut words = vec![parameter.kind.in_words().to_owned()];
    if parameter.required {
        words.push("required".into());
    }
    if let Some(default) = &parameter.default {
        words.push(format!("default {default}"));
    }
    if !parameter.allowed.is_empty() {
        let allowed: Vec<_> = parameter.allowed.iter().map(ToString::to_string).collect();
        words.push(format!("one of {}", allowed.join(" ")));
    }
    words.extend(parameter.min.map(|min| format!("at least {min}")));
    words.extend(parameter.max.map(|max| format!("at most {max}")));
    words.join(", ")
}

fn find<'a>(catalog: &'a Catalog, name: &str) -> anyhow::Result<&'a NodeSpec> {
    catalog
        .get(name)
        .with_context(|| catalog.no_such_node(name, "`onceoverd nodes`"))
}

/// Downloads a model of a node into the cache of its hub: the one named, else those of the node's defaults.
pub fn fetch(config: &Config, name: &str, model: Option<&str>) -> anyhow::Result<()> {
    let (catalog, readiness) = load(config)?;
    let node = find(&catalog, name)?;
    let service = readiness.service(&node.name).map(|service| service.name.as_str());
    let Some(service) = service.filter(|_| !node.needs.models.is_empty()) else {
        bail!("{name} needs no model that could be fetched");
    };
    let environments = config.environments();
    let interpreter = environments
        .interpreter(service)
        .with_context(|| format!("first: {}", environments.command(&format!("nodes install {service}"))))?;
    for need in &node.needs.models {
        let library = match need.hub {
            Hub::HuggingFace => "huggingface_hub",
            Hub::ModelScope => "modelscope",
            Hub::Path => continue,
        };
        let default = node
            .parameter(&need.parameter)
            .and_then(|parameter| parameter.default.as_ref());
        let default = default.and_then(|name| Some(format!("{}{}", need.prefix, name.as_str()?)));
        let wanted = model.map(str::to_owned).or(default);
        let Some(wanted) = wanted.filter(|name| name.contains('/')) else {
            continue;
        };
        print_line!("fetching {wanted}");
        let status = Command::new(&interpreter)
            .args([
                "-c",
                "import importlib, sys; print(importlib.import_module(sys.argv[1]).snapshot_download(sys.argv[2]))",
            ])
            .args([library, &wanted])
            .env_remove("PYTHONPATH")
            .env("PYTHONNOUSERSITE", "1")
            .status()
            .with_context(|| format!("cannot start {}", interpreter.display()))?;
        if !status.success() {
            bail!(
                "{wanted} was not fetched ({status}); it needs a connection to the hub{}",
                tokens(node)
            );
        }
        if model.is_some() {
            break;
        }
    }
    Ok(())
}

fn tokens(node: &NodeSpec) -> String {
    match node.needs.environment.as_slice() {
        [] => String::new(),
        names => format!(" and, where it is not open to all, {}", names.join(", ")),
    }
}

/// For `onceoverd check`: every node that lacks something, with the first thing it lacks.
pub fn not_ready(readiness: &Readiness, catalog: &Catalog) -> Vec<(NodeName, Missing)> {
    let lacks = |node: &NodeSpec| {
        let missing = readiness.missing(node, &Map::new()).into_iter().next()?;
        Some((node.name.clone(), missing))
    };
    catalog.iter().filter_map(lacks).collect()
}
