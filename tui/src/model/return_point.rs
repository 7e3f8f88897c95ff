//! Where the user was when the dashboard ended, until it is known whether that still exists.

use onceover_types::{NodeName, TaskId};
use serde::{Deserialize, Serialize};

use super::Page;

/// Which tasks show their stages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptExpansion {
    /// Whether most do; `None`: as at the first start.
    pub mostly_shown: Option<bool>,
    /// The tasks with which it is the other way round.
    pub except: Vec<TaskId>,
}

/// What is restored with the first part of everything that is read, and with the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReturnPoint {
    pub page: Page,
    /// The task at the cursor, and the stage of it.
    pub cursor: Option<(TaskId, Option<NodeName>)>,
    pub expansion: KeptExpansion,
    /// The detail had the whole screen.
    pub zoom: bool,
}
