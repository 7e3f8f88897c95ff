//! Every node by name. The variants of a node are made once, when the node is added: requests and runs share them and
//! clone none.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::NodeSpec;
use onceover_types::NodeName;

/// Every node, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    nodes: IndexMap<NodeName, CatalogEntry>,
}

#[derive(Debug, Clone)]
struct CatalogEntry {
    node: Arc<NodeSpec>,
    /// The node as each of its variants has it, in their order.
    variants: Vec<Arc<NodeSpec>>,
}

impl Catalog {
    /// Adds a node. A node of the same name is replaced, so that the configuration can override what is shipped.
    pub fn insert(&mut self, spec: NodeSpec) {
        let variants = spec.variants.iter().map(|variant| Arc::new(spec.varied(variant)));
        let variants = variants.collect();
        let name = spec.name.clone();
        let node = Arc::new(spec);
        self.nodes.insert(name, CatalogEntry { node, variants });
    }

    /// Finds a node by name.
    pub fn get(&self, name: &str) -> Option<&NodeSpec> {
        self.shared(name).map(Arc::as_ref)
    }

    /// Finds a node, as `get` does, for a caller that keeps it.
    pub fn shared(&self, name: &str) -> Option<&Arc<NodeSpec>> {
        self.nodes.get(name).map(|entry| &entry.node)
    }

    /// Returns the node as a request with this input runs it: with the first variant that fits, if one does.
    pub fn for_input(&self, name: &str, input: &Map<String, Value>) -> Option<&Arc<NodeSpec>> {
        let entry = self.nodes.get(name)?;
        let variant = entry.node.variant(input).and_then(|at| entry.variants.get(at));
        Some(variant.unwrap_or(&entry.node))
    }

    /// Returns every node.
    pub fn iter(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.values().map(|entry| &*entry.node)
    }

    /// Returns the names of all nodes.
    pub fn names(&self) -> impl Iterator<Item = &NodeName> + Clone {
        self.nodes.keys()
    }

    /// Returns how many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ProcessLife, RunnerSpec, parse_node};

    #[test]
    fn requests_of_one_kind_share_one_node() {
        let mut catalog = Catalog::default();
        catalog.insert(
            parse_node(
                "name = 'demo.speak'\nrunner = { command = ['heavy'] }\n\
                 [[parameters]]\nname = 'engine'\ntype = 'string'\n\
                 [[variants]]\nparameter = 'engine'\nvalue = 'small'\nrunner = { command = ['light'] }\n",
            )
            .unwrap(),
        );
        let of = |input: Value| catalog.for_input("demo.speak", input.as_object().unwrap()).unwrap();
        let small = of(json!({"engine": "small", "text": "a"}));
        assert_eq!(
            small.runner,
            RunnerSpec::Command(vec!["light".into()], ProcessLife::OneRun)
        );
        assert!(Arc::ptr_eq(small, of(json!({"engine": "small", "text": "b"}))));
        for usual in [json!({}), json!({"engine": "other"})] {
            assert!(Arc::ptr_eq(of(usual), catalog.shared("demo.speak").unwrap()));
        }
        assert!(catalog.for_input("demo.sing", &Map::new()).is_none());
    }
}
