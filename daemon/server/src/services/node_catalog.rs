//! The nodes that can be asked for, what is missing for them on this machine, and how their runs went.

use std::sync::Arc;

use indexmap::IndexMap;
use onceover_catalog::{Catalog, NodeSpec};
use onceover_store::Store;
use onceover_wire::{NodeInfo, NodeStatistics, SupportedTasks};
use serde_json::Map;

use super::ServiceError;
use crate::readiness::Readiness;

/// Tells of nodes.
pub struct NodeCatalog {
    store: Store,
    catalog: Arc<Catalog>,
    readiness: Arc<Readiness>,
}

impl NodeCatalog {
    pub fn new(store: Store, catalog: Arc<Catalog>, readiness: Arc<Readiness>) -> Self {
        Self {
            store,
            catalog,
            readiness,
        }
    }

    /// Returns the nodes themselves.
    pub fn specs(&self) -> &Catalog {
        &self.catalog
    }

    /// Describes a node, and what is missing for it on this machine.
    pub fn describe_node(&self, node: &NodeSpec) -> NodeInfo {
        let missing = self.readiness.missing(node, &Map::new());
        NodeInfo::new(node, missing, self.readiness.gpu())
    }

    /// Reads how long the runs of each node take, and how often they fail or are saved.
    pub async fn read_statistics(&self) -> Result<NodeStatistics, ServiceError> {
        Ok(self.store.node_statistics().await?)
    }

    /// Lists the names of nodes by service.
    pub fn list_names(&self) -> SupportedTasks {
        let mut supported_tasks = IndexMap::<String, Vec<String>>::new();
        for node in self.catalog.iter() {
            supported_tasks
                .entry(node.name.service().to_owned())
                .or_default()
                .push(node.name.to_string());
        }
        SupportedTasks {
            supported_tasks,
            total_count: self.catalog.len(),
            description: "Nodes that POST /v1/tasks takes as task_name".into(),
        }
    }
}
