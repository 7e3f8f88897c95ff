//! Whether a node can run on this machine, and what is missing: the one source for submits, `GET /v1/nodes`,
//! `onceoverd nodes` and `onceoverd check`.
//!
//! What the machine answers is kept for some seconds (`machine`), so that most submits cost no file system work. What is
//! reported as missing was looked for at that moment: what has just been installed counts at once.

mod machine;

use std::{collections::HashMap, sync::Arc};

use onceover_catalog::{Catalog, Gpu, Hub, ModelNeed, NodeSpec, RunnerSpec, asks_for_gpu};
use onceover_types::{Missing, NodeName};
use serde_json::{Map, Value};

use self::machine::{KnownItems, MachineItem, Presence, Trust};
pub use self::machine::{find_program, is_model_path, models_folder};
use crate::python::{Environments, Service};
use onceover_catalog::is_placeholder;
use onceover_nodes::{self as nodes, llm::Providers};
use onceover_process::environment;

/// What the nodes of a catalog need, and what this machine has of it.
#[derive(Debug)]
pub struct Readiness {
    environments: Environments,
    providers: Providers,
    catalog: Catalog,
    services: HashMap<NodeName, NodeServices>,
    machine: KnownItems,
}

/// The Python services that a node runs in.
#[derive(Debug)]
struct NodeServices {
    own: Option<Service>,
    /// By the runners of its variants that have one.
    of_variants: Vec<(RunnerSpec, Option<Service>)>,
}

impl NodeServices {
    fn of(node: &NodeSpec) -> Result<Self, String> {
        let mut of_variants = Vec::new();
        for runner in node.variants.iter().filter_map(|variant| variant.runner.as_ref()) {
            of_variants.push((runner.clone(), Service::of_runner(&node.name, runner)?));
        }
        Ok(Self {
            own: Service::of(node)?,
            of_variants,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Service> {
        let variants = self.of_variants.iter().filter_map(|(_, service)| service.as_ref());
        self.own.iter().chain(variants)
    }

    /// The service of the node as a request runs it.
    fn of_runner(&self, runner: &RunnerSpec) -> Option<&Service> {
        let varied = self.of_variants.iter().find(|(of, _)| of == runner);
        varied.map_or(self.own.as_ref(), |(_, service)| service.as_ref())
    }
}

impl Readiness {
    /// An error for people: a program that is not there, or two sets of packages for one environment.
    pub fn new(environments: Environments, providers: Providers, catalog: &Catalog) -> Result<Self, String> {
        let mut all = HashMap::new();
        let mut by_name: HashMap<String, (NodeName, Service)> = HashMap::new();
        for node in catalog.iter() {
            let services = NodeServices::of(node).map_err(|why| format!("node {}: {why}", node.name))?;
            for service in services.all() {
                let (first, same) = by_name
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
            all.insert(node.name.clone(), services);
        }
        Ok(Self {
            environments,
            providers,
            catalog: catalog.clone(),
            services: all,
            machine: KnownItems::default(),
        })
    }

    /// The services whose environments nodes run in, by name.
    pub fn services(&self) -> Vec<&Service> {
        let mut services: Vec<_> = self.services.values().flat_map(NodeServices::all).collect();
        services.sort_by_key(|service| &service.name);
        services.dedup();
        services
    }

    /// The service of a node as its defaults run it.
    pub fn service(&self, node: &NodeName) -> Option<&Service> {
        self.services.get(node)?.own.as_ref()
    }

    /// Whether there is a device that CUDA or ROCm programs could use.
    pub fn gpu(&self) -> Gpu {
        match self.machine.gpu(Trust::AnyKept) {
            Presence::Here => Gpu::Present,
            Presence::Absent | Presence::Outdated => Gpu::Absent,
        }
    }

    /// What a run of the node with this input lacks; nothing: it can run. With an empty input, that of its defaults. What is
    /// named was looked for just now.
    pub fn missing(&self, node: &NodeSpec, input: &Map<String, Value>) -> Vec<Missing> {
        let asked = self.catalog.for_input(node.name.as_str(), input);
        self.lacks(asked.map_or(node, Arc::as_ref), input, Trust::KeptIfHere)
    }

    /// Whether a run of the node, as this input has it run, could be started, by what was known some seconds ago at most.
    /// Before a request is refused for it, `missing` is asked.
    pub fn seems_ready(&self, node: &NodeSpec, input: &Map<String, Value>) -> bool {
        self.lacks(node, input, Trust::AnyKept).is_empty()
    }

    fn lacks(&self, node: &NodeSpec, input: &Map<String, Value>, trust: Trust) -> Vec<Missing> {
        let mut missing = self.of_the_machine(node, trust);
        missing.extend(self.missing_provider(node, input));
        let value = |name: &str| {
            let value = node.parameter(name)?.value(input);
            value.filter(|value| !is_placeholder(value))
        };
        if let Some(name) = &node.needs.gpu
            && let Some(Value::String(device)) = value(name)
            && asks_for_gpu(device)
            && self.machine.gpu(trust) != Presence::Here
        {
            missing.push(Missing {
                what: format!("a GPU, which {name} = \"{device}\" asks for"),
                how: format!(
                    "give {name} = \"cpu\", or set it in [defaults.\"{}\"] of the configuration",
                    node.name
                ),
            });
        }
        for key in &node.needs.keys {
            if value(&key.when) == Some(&Value::Bool(true)) && is_unset(&key.variable) {
                missing.push(missing_variable(&key.variable));
            }
        }
        missing.extend(self.missing_models(node, input, trust));
        missing
    }

    /// The models that a run of the node with this input lacks.
    fn missing_models(&self, node: &NodeSpec, input: &Map<String, Value>, trust: Trust) -> Vec<Missing> {
        let mut missing = Vec::new();
        for model in needed_models(node, input) {
            if self.machine.model(model.need.hub, &model.name, trust) != Presence::Here {
                missing.push(self.missing_model(node, model.need, &model.name));
            }
        }
        missing
    }

    /// The first that is missing of what `onceoverd nodes install --models` brings to this machine for a run of the node
    /// with this input: its environment and its models.
    pub fn missing_installation(&self, node: &NodeSpec, input: &Map<String, Value>) -> Option<Missing> {
        let asked = self.catalog.for_input(node.name.as_str(), input);
        let node = asked.map_or(node, Arc::as_ref);
        let environment = self.missing_environment(node, Trust::KeptIfHere);
        environment.or_else(|| self.missing_models(node, input, Trust::KeptIfHere).into_iter().next())
    }

    /// The models of hubs that a run of the node loads where a request says nothing.
    pub fn default_models(&self, node: &NodeSpec) -> Vec<DefaultModel> {
        let nothing = Map::new();
        let of_hubs =
            needed_models(node, &nothing).filter(|model| model.need.hub != Hub::Path && model.name.contains('/'));
        let found = of_hubs.map(|model| DefaultModel {
            is_here: self.machine.model(model.need.hub, &model.name, Trust::KeptIfHere) == Presence::Here,
            hub: model.need.hub,
            name: model.name,
        });
        found.collect()
    }

    /// The environment of the node's program, where it is not as the program needs it.
    fn missing_environment(&self, node: &NodeSpec, trust: Trust) -> Option<Missing> {
        let service = self.services.get(&node.name)?.of_runner(&node.runner)?;
        let item = MachineItem::Environment(service.name.clone());
        let state = || self.environments.state(service).into();
        let what = match self.machine.ask(item, trust, state) {
            Presence::Here => return None,
            Presence::Absent => "is not installed",
            Presence::Outdated => "is of another version of its requirements",
        };
        Some(Missing {
            what: format!("the Python environment of {}, which {what}", service.name),
            how: self.environments.command(&format!("nodes install {}", service.name)),
        })
    }

    /// What every run of a node needs: its environment, programs and variables.
    fn of_the_machine(&self, node: &NodeSpec, trust: Trust) -> Vec<Missing> {
        let mut missing: Vec<_> = self.missing_environment(node, trust).into_iter().collect();
        missing.extend(
            programs(node)
                .filter(|name| self.machine.program(name, trust) != Presence::Here)
                .map(|name| Missing {
                    what: format!("the program {name}"),
                    how: onceover_run::tool::how_to_install(name),
                }),
        );
        let unset = node.needs.environment.iter().filter(|name| is_unset(name));
        missing.extend(unset.map(|name| missing_variable(name)));
        missing
    }

    /// What the language model provider that a request names lacks.
    fn missing_provider(&self, node: &NodeSpec, input: &Map<String, Value>) -> Option<Missing> {
        nodes::asked_provider(node, input, &self.providers)?.missing()
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

/// A model that a node loads by default, by the name under which its hub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultModel {
    pub name: String,
    pub hub: Hub,
    pub is_here: bool,
}

/// A model that a run needs, by the name under which its hub has it.
struct NeededModel<'a> {
    need: &'a ModelNeed,
    name: String,
}

/// The models that a run of the node with this input needs, as far as the input says it.
fn needed_models<'a>(node: &'a NodeSpec, input: &'a Map<String, Value>) -> impl Iterator<Item = NeededModel<'a>> {
    let value = move |name: &str| node.parameter(name)?.value(input);
    let is_true = move |name: &str| value(name) == Some(&Value::Bool(true));
    node.needs.models.iter().filter_map(move |need| {
        let wanted = need.when.as_deref().is_none_or(is_true) && !need.unless.as_deref().is_some_and(is_true);
        let name = value(&need.parameter).filter(|value| wanted && !is_placeholder(value))?;
        Some(NeededModel {
            need,
            name: format!("{}{}", need.prefix, name.as_str()?),
        })
    })
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
        RunnerSpec::Command(command, _) => command.first(),
        RunnerSpec::Builtin(_) | RunnerSpec::Python(..) | RunnerSpec::Celery(_) => None,
    };
    command.into_iter().chain(&node.needs.programs).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use onceover_catalog::parse_node;
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
        crate::python::install(
            &readiness.environments,
            &service,
            &crate::python::Setup::plain("python3", &service),
            false,
            &|_| {},
        )
        .unwrap();
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
    fn what_is_known_of_a_variant_is_kept_and_looked_at_again_before_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("speak");
        let node = format!(
            "name = 'demo.node'\nrunner = {{ command = ['sh'] }}\n[[parameters]]\nname = 'engine'\ntype = 'string'\n\
             [[variants]]\nparameter = 'engine'\nvalue = 'small'\nrunner = {{ command = ['{}'] }}\n",
            program.display()
        );
        let node = parse_node(&node).unwrap();
        let (_dir, readiness) = readiness(&node);
        let input = json!({"engine": "small"});
        let input = input.as_object().unwrap();
        let varied = readiness.catalog.for_input(node.name.as_str(), input).unwrap();
        let seems_ready = || readiness.seems_ready(varied, input);
        assert!(!seems_ready());
        fs::write(&program, "").unwrap();
        // A submit does not read the disk again within that time, and an installation counts at once where it would be refused.
        assert!(!seems_ready());
        assert_eq!(readiness.missing(&node, input), []);
        fs::remove_file(&program).unwrap();
        assert!(seems_ready() && readiness.missing(&node, input).is_empty());
        assert!(readiness.seems_ready(&node, &Map::new()));
    }

    #[test]
    fn the_environment_of_a_variant_is_one_that_can_be_installed() {
        let node = "name = 'demo.node'\nrunner = { command = ['sh'] }\n\
             [[parameters]]\nname = 'engine'\ntype = 'string'\n\
             [[variants]]\nparameter = 'engine'\nvalue = 'large'\nrunner = { python = 'indextts/generate_speech.py' }\n";
        let node = parse_node(node).unwrap();
        let (_dir, readiness) = readiness(&node);
        let names: Vec<_> = readiness.services().iter().map(|service| &service.name).collect();
        assert_eq!(names, ["indextts"]);
        let input = json!({"engine": "large"});
        let lacks = readiness.missing(&node, input.as_object().unwrap());
        assert!(lacks[0].how.contains("nodes install indextts"), "{lacks:?}");
        assert_eq!(readiness.missing(&node, &Map::new()), []);
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
