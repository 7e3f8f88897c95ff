//! The page of nodes: the daemon's catalog, the part of it that the filter leaves, and the node at the cursor.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};
use onceover_wire::NodeInfo;
use tui_input::Input;

use super::{list::List, row::RowId};

/// What the page knows.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Every node, in the catalog's order.
    pub all: Vec<Arc<NodeInfo>>,
    /// The newest request for them; answers to others are dropped.
    pub request: Option<u64>,
    /// Whether they were read at least once.
    pub read: bool,
    pub failed: Option<String>,
    /// Those that are shown.
    pub list: List<NodeName>,
    /// What their names, titles or purposes have to contain.
    pub filter: String,
    /// The same while it is typed.
    pub input: Option<Input>,
    /// The node that the cursor goes to once the catalog is read.
    pub wanted: Option<NodeName>,
    /// The stages that a form is opened on once the catalog is read, to run them again with changes.
    pub edited: Vec<RowId>,
    /// The task that a form which is opened from here submits to.
    pub task: Option<TaskId>,
    /// Lines that the node's card is scrolled by.
    pub scroll: usize,
}

impl Nodes {
    /// Shows the catalog that was read.
    pub fn set_nodes(&mut self, nodes: Vec<NodeInfo>) {
        self.all = nodes.into_iter().map(Arc::new).collect();
        self.read = true;
        self.failed = None;
        self.narrow();
        if let Some(wanted) = self.wanted.take() {
            self.list.go_to(&wanted);
        }
    }

    /// Shows the nodes that contain each word of the text.
    pub fn set_filter(&mut self, text: &str) {
        self.filter = text.to_owned();
        self.scroll = 0;
        self.narrow();
    }

    fn narrow(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let holds = |node: &NodeInfo| {
            let text = format!("{} {} {}", node.name, node.title, node.purpose).to_lowercase();
            words.iter().all(|word| text.contains(word.as_str()))
        };
        let shown = self.all.iter().filter(|node| holds(node)).map(|node| node.name.clone());
        self.list.set(shown.collect());
    }

    pub fn get(&self, name: &NodeName) -> Option<&Arc<NodeInfo>> {
        self.all.iter().find(|node| node.name == *name)
    }

    pub fn at_cursor(&self) -> Option<&Arc<NodeInfo>> {
        self.get(self.list.cursor()?)
    }

    /// Counts the nodes that can run now.
    pub fn count_ready(&self) -> usize {
        self.all.iter().filter(|node| node.readiness.ready).count()
    }
}
