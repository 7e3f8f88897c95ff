//! What rows and actions are about, by id.

use std::{fmt, sync::Arc};

use onceover_types::{NodeName, TaskId};

/// One row of the tree, by id: a task, or one of its stages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    pub task: Arc<TaskId>,
    pub node: Option<Arc<NodeName>>,
}

impl RowId {
    pub fn task(task: &Arc<TaskId>) -> Self {
        Self {
            task: task.clone(),
            node: None,
        }
    }

    pub fn stage(task: &Arc<TaskId>, node: &Arc<NodeName>) -> Self {
        Self {
            task: task.clone(),
            node: Some(node.clone()),
        }
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            None => write!(f, "{}", self.task),
            Some(node) => write!(f, "{} › {node}", self.task),
        }
    }
}

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Row(RowId),
    /// A callback, by its id.
    Delivery(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => row.fmt(f),
            Self::Delivery(id) => f.write_str(id),
        }
    }
}
