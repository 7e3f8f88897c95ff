//! Profiles: defaults of parameters by the kind of machine, and the defaults that a configuration sets.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Catalog, NodeSpec, ParameterSpec, ValueKind};

/// The kind of machine that defaults are chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Without a GPU: small models, that a processor runs in less time than their sound lasts.
    Cpu,
    /// With a CUDA GPU: large models.
    Cuda,
}

impl Profile {
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Cuda];

    /// Returns the word that the configuration has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no profile '{0}'; there are cpu, cuda")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| profile.as_str() == text)
            .ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// Defaults in the place of a parameter's usual one, by profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileDefaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<Value>,
}

impl ProfileDefaults {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the default for a profile; `None` if it is the usual one.
    pub fn get(&self, profile: Profile) -> Option<&Value> {
        match profile {
            Profile::Cpu => self.cpu.as_ref(),
            Profile::Cuda => self.cuda.as_ref(),
        }
    }
}

/// The node file's default of a parameter whose default is configured; `None` if the file has none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReplacedDefault(Option<Value>);

impl ParameterSpec {
    /// Puts a default of the configuration in the place of the node file's.
    pub fn set_default(&mut self, default: Value) {
        let of_file = match self.replaced_default.take() {
            Some(ReplacedDefault(of_file)) => of_file,
            None => self.default.take(),
        };
        if of_file.as_ref() != Some(&default) {
            self.replaced_default = Some(ReplacedDefault(of_file));
        }
        self.default = Some(default);
    }

    /// Returns the default that the configuration has set, if it belongs to the input. What an earlier stage can give is
    /// left to it, and a path of the operator need not lie where requests may read.
    fn configured_default(&self) -> Option<&Value> {
        let belongs = self.fallbacks.is_empty() && self.kind != ValueKind::Path;
        self.default
            .as_ref()
            .filter(|_| belongs && self.replaced_default.is_some())
    }
}

impl NodeSpec {
    /// Adds the configured defaults of what an input leaves out, so that they are compared, stored and shown with it:
    /// another default is another input (R8). Defaults of the node file stay out, as they are the same for everybody.
    pub fn add_configured_defaults(&self, input: &mut Map<String, Value>) {
        for parameter in &self.parameters {
            if let Some(default) = parameter.configured_default()
                && parameter.given(input).is_none()
            {
                input.insert(parameter.name.clone(), default.clone());
            }
        }
    }

    /// Returns the node with the defaults of a profile; `None` if it has none.
    fn with_profile(&self, profile: Profile) -> Option<Self> {
        let has_one = |parameter: &ParameterSpec| parameter.default_by_profile.get(profile).is_some();
        if !self.parameters.iter().any(has_one) {
            return None;
        }
        let mut node = self.clone();
        for parameter in &mut node.parameters {
            if let Some(default) = parameter.default_by_profile.get(profile).cloned() {
                parameter.set_default(default);
            }
        }
        Some(node)
    }

    /// Returns what is wrong with the defaults of its parameters.
    pub(super) fn faults_of_defaults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            let mut check = |which: String, default: Option<&Value>| {
                let default = default.filter(|value| !value.is_null());
                if let Some(why) = default.and_then(|value| parameter.refusal(value)) {
                    faults.push(format!("{which}: {why}"));
                }
            };
            check(format!("the default of '{name}'"), parameter.default.as_ref());
            for profile in Profile::ALL {
                let default = parameter.default_by_profile.get(profile);
                check(format!("the default of '{name}' for the profile {profile}"), default);
            }
        }
        faults
    }
}

impl Catalog {
    /// Gives the nodes that are chosen the defaults of a profile.
    pub fn take_profile(&mut self, profile: Profile, is_chosen: impl Fn(&NodeSpec) -> bool) {
        let chosen = self.iter().filter(|node| is_chosen(node));
        let changed: Vec<_> = chosen.filter_map(|node| node.with_profile(profile)).collect();
        for node in changed {
            self.insert(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ProcessLife, RunnerSpec, parse_node};

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        catalog.insert(
            parse_node(
                "name = 'demo.speak'\nrunner = { command = ['heavy'] }\n\
                 [[parameters]]\nname = 'engine'\ntype = 'string'\ndefault = 'large'\n\
                 default_by_profile = { cpu = 'small' }\naliases = ['model']\n\
                 [[parameters]]\nname = 'speed'\ntype = 'number'\ndefault = 1\n\
                 [[variants]]\nparameter = 'engine'\nvalue = 'small'\nrunner = { command = ['light'] }\n",
            )
            .unwrap(),
        );
        catalog
    }

    fn completed(catalog: &Catalog, input: Value) -> Value {
        let mut input = input.as_object().unwrap().clone();
        catalog.get("demo.speak").unwrap().add_configured_defaults(&mut input);
        Value::Object(input)
    }

    #[test]
    fn a_profile_changes_the_defaults_that_have_one_for_it_and_no_others() {
        let with = |profile: Profile, is_chosen: bool| {
            let mut catalog = catalog();
            catalog.take_profile(profile, |_| is_chosen);
            catalog
        };
        let cpu = with(Profile::Cpu, true);
        let default = |catalog: &Catalog, name: &str| {
            let node = catalog.get("demo.speak").unwrap();
            node.parameter(name).unwrap().default.clone()
        };
        assert_eq!(default(&cpu, "engine"), Some(json!("small")));
        assert_eq!(default(&cpu, "speed"), Some(json!(1)));
        // The variant of the new default is what runs.
        let runs = cpu.for_input("demo.speak", &Map::new()).unwrap();
        assert_eq!(
            runs.runner,
            RunnerSpec::Command(vec!["light".into()], ProcessLife::OneRun)
        );
        for unchanged in [with(Profile::Cuda, true), with(Profile::Cpu, false)] {
            assert_eq!(unchanged.get("demo.speak"), catalog().get("demo.speak"));
        }
    }

    #[test]
    fn r8_a_configured_default_is_part_of_the_input_and_one_of_the_node_file_is_not() {
        let mut catalog = catalog();
        assert_eq!(completed(&catalog, json!({"text": "a"})), json!({"text": "a"}));
        catalog.take_profile(Profile::Cpu, |_| true);
        assert_eq!(
            completed(&catalog, json!({"text": "a", "engine": null})),
            json!({"text": "a", "engine": "small"})
        );
        for given in [json!({"engine": "large"}), json!({"model": "large"})] {
            assert_eq!(completed(&catalog, given.clone()), given);
        }
        // A later setting counts, and that of the file is none.
        let mut node = catalog.get("demo.speak").unwrap().clone();
        for (default, expected) in [("medium", json!({"engine": "medium"})), ("large", json!({}))] {
            node.parameters[0].set_default(default.into());
            catalog.insert(node.clone());
            assert_eq!(completed(&catalog, json!({})), expected);
        }
    }

    #[test]
    fn what_an_earlier_stage_can_give_and_paths_of_the_operator_stay_out() {
        let mut node = parse_node(
            "name = 'demo.node'\nrunner = { command = ['true'] }\n[[parameters]]\nname = 'language'\ntype = 'string'\n\
             fallbacks = [{ node = 'a.b', field = 'language' }]\n[[parameters]]\nname = 'prompt'\ntype = 'path'\n",
        )
        .unwrap();
        node.parameters[0].set_default("en".into());
        node.parameters[1].set_default("/etc/onceover/prompt.md".into());
        let mut input = Map::new();
        node.add_configured_defaults(&mut input);
        assert!(input.is_empty(), "{input:?}");
    }

    #[test]
    fn a_wrong_profile_or_default_of_one_is_named_with_what_there_is() {
        let error = "gpu".parse::<Profile>().unwrap_err().to_string();
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse::<Profile>(), Ok(profile));
            assert!(error.contains(profile.as_str()), "{error}");
        }
        let node = |defaults: &str| {
            parse_node(&format!(
                "name = 'demo.node'\nrunner = {{ command = ['true'] }}\n[[parameters]]\nname = 'size'\ntype = 'integer'\n\
                 default_by_profile = {defaults}\n"
            ))
        };
        let error = node("{ gpu = 1 }").unwrap_err().to_string();
        assert!(error.contains("cpu") && error.contains("cuda"), "{error}");
        let faults = node("{ cpu = 'small' }").unwrap().faults();
        assert!(
            faults.len() == 1 && faults[0].contains("'size' for the profile cpu"),
            "{faults:?}"
        );
    }
}
