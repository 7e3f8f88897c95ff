//! Whether a node can run on this machine, and what is missing: the one source for submits, `GET /v1/nodes`,
//! `onceoverd nodes` and `onceoverd check`.

use std::{
    borrow::Cow,
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use onceover_common::{
    Missing, NodeName,
    catalog::{Catalog, Gpu, Hub, ModelNeed, NodeSpec, RunnerSpec, asks_for_gpu},
};
use serde_json::{Map, Value};

use crate::{
    catalog::is_placeholder,
    environment,
    executor::process,
    nodes::{self, llm::Providers},
    python::{Environments, Service, State},
};

/// How long a machine that had everything is not looked at again.
const REMEMBERED: Duration = Duration::from_secs(2);

/// What the nodes of a catalog need, and when they were last seen to have it.
#[derive(Debug)]
pub struct Readiness {
    environments: Environments,
    providers: Providers,
    nodes: HashMap<NodeName, Needed>,
}

/// What one node needs whatever it is asked.
#[derive(Debug)]
struct Needed {
    service: Option<Service>,
    seen: Mutex<Option<Instant>>,
}

impl Readiness {
    /// An error for people: a program that is not there, or two sets of packages for one environment.
    pub fn new(environments: Environments, providers: Providers, catalog: &Catalog) -> Result<Self, String> {
        let mut nodes = HashMap::new();
        let mut services: HashMap<String, (NodeName, Service)> = HashMap::new();
        for node in catalog.iter() {
            let service = Service::of(node).map_err(|why| format!("node {}: {why}", node.name))?;
            if let Some(service) = &service {
                let (first, same) = services
                    .entry(service.name.clone())
                    .or_insert_with(|| (node.name.clone(), service.clone()));
                if same != service {
                    return Err(format!(
                        "{first} and {} share the environment {} but their {} differ; give one of them another name",
                        node.name,
                        service.name,
                        crate::python::REQUIREMENTS
                    ));
                }
            }
            let seen = Mutex::default();
            nodes.insert(node.name.clone(), Needed { service, seen });
        }
        Ok(Self {
            environments,
            providers,
            nodes,
        })
    }

    /// The services whose environments nodes run in, by name.
    pub fn services(&self) -> Vec<&Service> {
        let mut services: Vec<_> = self.nodes.values().filter_map(|node| node.service.as_ref()).collect();
        services.sort_by_key(|service| &service.name);
        services.dedup();
        services
    }

    pub fn service(&self, node: &NodeName) -> Option<&Service> {
        self.nodes.get(node)?.service.as_ref()
    }

    /// What a run of the node with this input lacks; nothing: it can run. With an empty input, that of its defaults.
    pub fn missing(&self, node: &NodeSpec, input: &Map<String, Value>) -> Vec<Missing> {
        let asked = node.for_input(input);
        let mut missing = match &asked {
            Cow::Borrowed(node) => self.of_the_machine(node),
            Cow::Owned(variant) => self.of_a_variant(variant),
        };
        let node = &*asked;
        if let RunnerSpec::Builtin(builtin) = &node.runner
            && nodes::asks_a_model(builtin)
        {
            let mut completed = input.clone();
            for parameter in node
                .parameters
                .iter()
                .filter(|parameter| parameter.given(input).is_none())
            {
                completed.extend(
                    parameter
                        .default
                        .clone()
                        .map(|default| (parameter.name.clone(), default)),
                );
            }
            missing.extend(nodes::missing(&completed, &self.providers));
        }
        let value = |name: &str| {
            let value = node.parameter(name)?.value(input);
            value.filter(|value| !is_placeholder(value))
        };
        if let Some(name) = &node.needs.gpu
            && let Some(Value::String(device)) = value(name)
            && asks_for_gpu(device)
            && gpu() == Gpu::Absent
        {
            missing.push(Missing {
                what: format!("a GPU, which {name} = \"{device}\" asks for"),
                how: format!(
                    "give {name} = \"cpu\", or set it in [defaults.\"{}\"] of the configuration",
                    node.name
                ),
            });
        }
        let is_true = |name: &str| value(name) == Some(&Value::Bool(true));
        for key in &node.needs.keys {
            if is_true(&key.when) && is_unset(&key.variable) {
                missing.push(missing_variable(&key.variable));
            }
        }
        for model in &node.needs.models {
            let wanted = model.when.as_deref().is_none_or(is_true) && !model.unless.as_deref().is_some_and(is_true);
            if wanted && let Some(Value::String(name)) = value(&model.parameter) {
                let name = format!("{}{name}", model.prefix);
                if !model_is_here(model.hub, &name) {
                    missing.push(self.missing_model(node, model, &name));
                }
            }
        }
        missing
    }

    fn of_the_machine(&self, node: &NodeSpec) -> Vec<Missing> {
        let needed = self.nodes.get(&node.name);
        let seen = needed.map(|needed| needed.seen.lock().expect("no thread panics with the time"));
        if seen
            .as_ref()
            .and_then(|seen| **seen)
            .is_some_and(|at| at.elapsed() < REMEMBERED)
        {
            return Vec::new();
        }
        let service = needed.and_then(|needed| needed.service.as_ref());
        let missing = self.lacking(node, service);
        if let Some(mut seen) = seen {
            *seen = missing.is_empty().then(Instant::now);
        }
        missing
    }

    /// As `of_the_machine`, of a node as one of its variants has it, which is not remembered.
    fn of_a_variant(&self, node: &NodeSpec) -> Vec<Missing> {
        let service = Service::of(node).ok().flatten();
        self.lacking(node, service.as_ref())
    }

    fn lacking(&self, node: &NodeSpec, service: Option<&Service>) -> Vec<Missing> {
        let mut missing = Vec::new();
        if let Some(service) = service {
            let what = match self.environments.state(service) {
                State::Ready => None,
                State::Absent => Some("is not installed"),
                State::Outdated => Some("is of another version of its requirements"),
            };
            missing.extend(what.map(|what| Missing {
                what: format!("the Python environment of {}, which {what}", service.name),
                how: self.environments.command(&format!("nodes install {}", service.name)),
            }));
        }
        missing.extend(
            programs(node)
                .filter(|name| find_program(name).is_none())
                .map(|name| Missing {
                    what: format!("the program {name}"),
                    how: process::how_to_install(name),
                }),
        );
        let unset = node.needs.environment.iter().filter(|name| is_unset(name));
        missing.extend(unset.map(|name| missing_variable(name)));
        missing
    }

    fn missing_model(&self, node: &NodeSpec, model: &ModelNeed, name: &str) -> Missing {
        let parameter = &model.parameter;
        let what = format!("the model {name} ({parameter})");
        match model.hub {
            Hub::Path => Missing {
                what,
                how: format!("put it there, or give {parameter} the path of one that is on this machine"),
            },
            Hub::HuggingFace | Hub::ModelScope => {
                let fetch = self.environments.command(&format!("nodes fetch {} {name}", node.name));
                Missing {
                    what,
                    how: format!(
                        "{fetch}  (downloads it), or give {parameter} one below the models folder (ONCEOVER_MODELS)"
                    ),
                }
            }
        }
    }
}

fn is_unset(variable: &str) -> bool {
    environment::var_os(variable).is_none_or(|value| value.is_empty())
}

fn missing_variable(name: &str) -> Missing {
    Missing {
        what: format!("the environment variable {name}"),
        how: format!("set {name} in the environment of onceoverd and start it again"),
    }
}

/// Programs a node needs on the PATH.
fn programs(node: &NodeSpec) -> impl Iterator<Item = &str> {
    let command = match &node.runner {
        RunnerSpec::Command(command) => command.first(),
        RunnerSpec::Builtin(_) | RunnerSpec::Python(_) => None,
    };
    command.into_iter().chain(&node.needs.programs).map(String::as_str)
}

/// The file a program name stands for; a name with a slash is a path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Whether there is a device that CUDA or ROCm programs could use.
pub fn gpu() -> Gpu {
    let is_there = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"]
        .iter()
        .any(|device| Path::new(device).exists());
    // As CUDA itself reads it.
    let is_hidden = std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|devices| matches!(devices.trim(), "" | "-1"));
    match is_there && !is_hidden {
        true => Gpu::Present,
        false => Gpu::Absent,
    }
}

/// Whether a value is meant as a path, not as a name at a hub.
pub fn is_model_path(name: &str) -> bool {
    name.starts_with(['/', '.', '~'])
}

fn model_is_here(hub: Hub, name: &str) -> bool {
    if name.is_empty() || is_model_path(name) || hub == Hub::Path {
        return name.is_empty() || Path::new(name).exists();
    }
    let Some((owner, model)) = name.split_once('/') else {
        return true;
    };
    let home = |below: &str| env::var_os("HOME").map(|home| Path::new(&home).join(below));
    let set = |variable: &str| {
        environment::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = || set("XDG_CACHE_HOME").or_else(|| home(".cache"));
    // As the programs look for it (onceover_node.py).
    let models = set("ONCEOVER_MODELS").or_else(|| Some(cache()?.join("onceover/models")));
    if models.is_some_and(|folder| folder.join(name).exists()) {
        return true;
    }
    match hub {
        Hub::HuggingFace => {
            let root = set("HF_HOME").or_else(|| Some(cache()?.join("huggingface")));
            let snapshots = root.map(|root| root.join(format!("hub/models--{owner}--{model}/snapshots")));
            snapshots.is_some_and(|folder| holds_something(&folder))
        }
        Hub::ModelScope => {
            let root = set("MODELSCOPE_CACHE").or_else(|| home(".cache/modelscope/hub"));
            // Its client writes a dot in a name like this.
            let below = [owner, &model.replace('.', "___")].join("/");
            let newer = format!("models/{owner}--{model}/snapshots");
            root.is_some_and(|root| {
                // Its newer client keeps models beside `hub`.
                let beside = root.parent().map(|above| above.join(&newer));
                [root.join(&below), root.join("models").join(&below), root.join(&newer)]
                    .iter()
                    .chain(&beside)
                    .any(|folder| holds_something(folder))
            })
        }
        Hub::Path => unreachable!("judged above"),
    }
}

fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use onceover_common::catalog::parse_node;
    use serde_json::json;

    use super::*;

    fn readiness(node: &NodeSpec) -> (tempfile::TempDir, Readiness) {
        let dir = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::default();
        catalog.insert(node.clone());
        let environments = Environments::new(dir.path().join("nodes"));
        (
            dir,
            Readiness::new(environments, Providers::default(), &catalog).unwrap(),
        )
    }

    fn missing(node: &str, input: Value) -> Vec<Missing> {
        let node = parse_node(node).unwrap();
        let (_dir, readiness) = readiness(&node);
        readiness.missing(&node, input.as_object().unwrap())
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let missing = missing(
            "name = 'demo.node'\nrunner = { command = ['onceover-no-such-program'] }\n\
             needs = { programs = ['sh', 'onceover-nor-this'], environment = ['PATH', 'ONCEOVER_NO_SUCH_KEY'] }",
            json!({}),
        );
        let whats: Vec<_> = missing.iter().map(|missing| missing.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "the program onceover-no-such-program",
                "the program onceover-nor-this",
                "the environment variable ONCEOVER_NO_SUCH_KEY"
            ]
        );
        assert!(missing[2].how.contains("set ONCEOVER_NO_SUCH_KEY"));
    }

    #[test]
    fn a_model_counts_as_a_path_or_as_a_copy_from_its_hub() {
        let node = |hub: &str| {
            format!(
                "name = 'demo.node'\nrunner = {{ command = ['sh'] }}\n\
                 needs = {{ models = [{{ parameter = 'model_name', hub = '{hub}' }}] }}\n\
                 [[parameters]]\nname = 'model_name'\ntype = 'string'\ndefault = 'nobody/has-this'\n"
            )
        };
        for hub in ["hugging_face", "model_scope"] {
            let lacks = missing(&node(hub), json!({}));
            assert!(lacks[0].what.contains("nobody/has-this"), "{lacks:?}");
            assert!(
                lacks[0].how.contains("onceoverd nodes fetch demo.node nobody/has-this"),
                "{lacks:?}"
            );
            assert!(missing(&node(hub), json!({"model_name": "tiny"})).is_empty());
            assert!(missing(&node(hub), json!({"model_name": "/"})).is_empty());
            assert!(missing(&node(hub), json!({"model_name": "${{ stages.a.b.output.c }}"})).is_empty());
            assert_eq!(missing(&node(hub), json!({"model_name": "/no/such/model"})).len(), 1);
        }
        assert_eq!(missing(&node("path"), json!({})).len(), 1);
    }

    #[test]
    fn a_key_and_a_model_can_be_needed_by_some_requests_alone() {
        let node = "name = 'demo.node'\nrunner = { command = ['sh'] }\n\
             needs = { keys = [{ variable = 'ONCEOVER_NO_SUCH_KEY', when = 'paid' }], \
                       models = [{ parameter = 'size', prefix = 'nobody/has-', unless = 'paid' }, \
                                 { parameter = 'more', when = 'words' }] }\n\
             [[parameters]]\nname = 'size'\ntype = 'string'\ndefault = 'this'\n\
             [[parameters]]\nname = 'more'\ntype = 'string'\ndefault = 'nobody/nor-this'\n\
             [[parameters]]\nname = 'words'\ntype = 'boolean'\ndefault = true\n\
             [[parameters]]\nname = 'paid'\ntype = 'boolean'\ndefault = false\n";
        let whats =
            |input: Value| -> Vec<String> { missing(node, input).into_iter().map(|missing| missing.what).collect() };
        let (size, more) = ("the model nobody/has-this (size)", "the model nobody/nor-this (more)");
        assert_eq!(whats(json!({})), [size, more]);
        assert_eq!(whats(json!({"words": false})), [size]);
        assert_eq!(
            whats(json!({"paid": true, "words": false})),
            ["the environment variable ONCEOVER_NO_SUCH_KEY"]
        );
    }

    #[test]
    fn an_environment_is_noticed_as_soon_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("node.py");
        fs::write(&program, "").unwrap();
        let node = format!("name = 'demo.node'\nrunner = {{ python = '{}' }}", program.display());
        let node = parse_node(&node).unwrap();
        let (_dir, readiness) = readiness(&node);
        let lacks = readiness.missing(&node, &Map::new());
        assert!(lacks[0].how.contains("nodes install demo"), "{lacks:?}");
        let service = readiness.service(&node.name).unwrap().clone();
        crate::python::install(&readiness.environments, &service, "python3", false, &|_| {}).unwrap();
        assert!(readiness.missing(&node, &Map::new()).is_empty());
    }

    #[test]
    fn a_variant_needs_what_it_says_and_nothing_of_the_node() {
        let node = "name = 'demo.node'\nrunner = { python = 'indextts/generate_speech.py' }\n\
             needs = { programs = ['onceover-no-such-program'] }\n\
             [[parameters]]\nname = 'engine'\ntype = 'string'\ndefault = 'large'\n\
             [[variants]]\nparameter = 'engine'\nvalue = 'small'\nrunner = { command = ['sh'] }\nneeds = {}\n";
        assert_eq!(missing(node, json!({})).len(), 2);
        assert_eq!(missing(node, json!({"engine": "small"})), []);
    }

    #[test]
    fn one_environment_has_one_set_of_packages() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = Catalog::default();
        for (node, requirements) in [("a", "one"), ("b", "two")] {
            let dir = folder.path().join(node);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("requirements.txt"), requirements).unwrap();
            fs::write(dir.join("node.py"), "").unwrap();
            let program = dir.join("node.py");
            let node = format!("name = 'demo.{node}'\nrunner = {{ python = '{}' }}", program.display());
            catalog.insert(parse_node(&node).unwrap());
        }
        let error =
            Readiness::new(Environments::new(folder.path().into()), Providers::default(), &catalog).unwrap_err();
        assert!(error.contains("demo.a and demo.b"), "{error}");
    }
}
