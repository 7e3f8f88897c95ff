//! Names of nothing that exists: unknown parameters, unknown nodes.

use serde_json::{Map, Value};

use super::{Catalog, NodeSpec};
use onceover_types::{
    NodeName, shortened,
    suggest::{closest_node, did_you_mean},
};

impl NodeSpec {
    /// Returns the names of an input that no parameter has. A node that declares no parameters takes any.
    pub fn unknown_inputs<'a>(&'a self, input: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
        let known =
            |name: &str| self.parameters.is_empty() || self.parameters.iter().any(|parameter| parameter.has_name(name));
        input.keys().map(String::as_str).filter(move |name| !known(name))
    }

    /// Says what is wrong with a name that [`NodeSpec::unknown_inputs`] returns, and what was perhaps meant.
    pub fn unknown_input(&self, name: &str) -> String {
        let names = self.parameters.iter().map(|parameter| parameter.name.as_str());
        format!("{} has no such parameter{}", self.name, did_you_mean(name, names))
    }
}

impl Catalog {
    /// Says that there is no node of this name, and which was perhaps meant; `lists` says where all of them are listed.
    pub fn no_such_node(&self, name: &str, lists: &str) -> String {
        let hint = match closest_node(name, self.names().map(NodeName::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("{lists} lists them"),
        };
        format!("there is no node '{}'; {hint}", shortened(name))
    }
}
