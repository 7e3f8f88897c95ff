//! Variants of a node: another runner, queue and needs for requests that give a parameter a certain value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Needs, NodeSpec, QueueSpec, RunnerSpec};

/// How a node runs for requests that give one parameter one value. A field that is omitted stays as the node has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub parameter: String,
    pub value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<RunnerSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// Required parameters that such a request may leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<String>,
}

impl NodeSpec {
    /// Finds the first variant that fits an input.
    pub(super) fn variant(&self, input: &Map<String, Value>) -> Option<usize> {
        self.variants.iter().position(|variant| {
            let parameter = self.parameter(&variant.parameter);
            parameter.and_then(|parameter| parameter.value(input)) == Some(&variant.value)
        })
    }

    /// Returns the node as requests that fit a variant run it.
    pub(super) fn varied(&self, variant: &Variant) -> Self {
        let mut node = self.clone();
        node.runner = variant.runner.clone().unwrap_or(node.runner);
        node.queue = variant.queue.clone().unwrap_or(node.queue);
        node.needs = variant.needs.clone().unwrap_or(node.needs);
        for parameter in &mut node.parameters {
            parameter.required &= !variant.optional.contains(&parameter.name);
        }
        node
    }

    /// Returns what is wrong with its variants.
    pub(super) fn faults_of_variants(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for variant in &self.variants {
            let named = std::iter::once(&variant.parameter).chain(&variant.optional);
            for name in named.filter(|name| self.parameter(name).is_none()) {
                faults.push(format!("a variant names '{name}', and there is no such parameter"));
            }
            let parameter = self.parameter(&variant.parameter);
            if let Some(why) = parameter.and_then(|parameter| parameter.refusal(&variant.value)) {
                faults.push(format!("a variant's value of '{}': {why}", variant.parameter));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{Catalog, Gpu, ProcessLife, parse_node};

    fn node(variants: &str) -> NodeSpec {
        parse_node(&format!(
            "name = 'demo.speak'\nqueue = 'gpu'\nrunner = {{ command = ['heavy'] }}\nneeds = {{ programs = ['heavy'] }}\n\
             [[parameters]]\nname = 'engine'\ntype = 'string'\ndefault = 'large'\nallowed = ['large', 'small']\n\
             [[parameters]]\nname = 'voice'\ntype = 'path'\nrequired = true\n{variants}"
        ))
        .unwrap()
    }

    const SMALL: &str = "[[variants]]\nparameter = 'engine'\nvalue = 'small'\nqueue = 'cpu'\noptional = ['voice']\n\
                         runner = { command = ['light'] }\nneeds = { programs = ['light'] }\n";

    fn for_input(node: &NodeSpec, input: &Map<String, Value>) -> Arc<NodeSpec> {
        let mut catalog = Catalog::default();
        catalog.insert(node.clone());
        Arc::clone(catalog.for_input(node.name.as_str(), input).unwrap())
    }

    #[test]
    fn a_value_of_a_parameter_decides_what_runs_where_and_what_may_be_left_out() {
        let mut node = node(SMALL);
        assert_eq!(node.faults(), [""; 0]);
        let input = |value: Value| value.as_object().unwrap().clone();
        for usual in [
            json!({}),
            json!({"engine": "large"}),
            json!({"engine": "${{ stages.a.b.output.c }}"}),
        ] {
            let asked = for_input(&node, &input(usual));
            assert_eq!(
                (asked.queue.to_string().as_str(), asked.check_input(&Map::new()).len()),
                ("gpu", 1)
            );
        }
        let small = input(json!({"engine": "small"}));
        let asked = for_input(&node, &small);
        assert_eq!(
            (asked.queue.to_string().as_str(), &asked.needs.programs[0]),
            ("cpu", &"light".to_owned())
        );
        assert_eq!(
            asked.runner,
            RunnerSpec::Command(vec!["light".into()], ProcessLife::OneRun)
        );
        assert_eq!(asked.check_input(&small), []);
        // Asked again of what it gave, it is the same.
        assert_eq!(for_input(&asked, &small), asked);
        // A default of the configuration counts as well.
        node.parameters[0].default = Some("small".into());
        assert_eq!(for_input(&node, &Map::new()).queue.to_string(), "cpu");
        assert_eq!(node.queue_for(&Map::new(), Gpu::Present), "cpu");
    }

    #[test]
    fn a_variant_that_leads_nowhere_is_a_fault() {
        let faults = node("[[variants]]\nparameter = 'engine'\nvalue = 'tiny'\noptional = ['pitch']\n").faults();
        assert!(
            faults[0].contains("'pitch'") && faults[1].contains("'engine'"),
            "{faults:?}"
        );
    }
}
