//! A form that changes several stages of one node together: what is typed changes in all of them, and everything else
//! stays as each of them has it.

use onceover_types::TaskId;
use onceover_wire::SubmitRequest;
use serde_json::Value;

use super::{Form, FormerRequest, StoredValues, What, stored::has_masked};
use crate::model::{difference::InputDifference, row::RowId};

/// Stages that change together at most.
pub const MOST_TARGETS: usize = 50;

/// One of the stages that change together.
#[derive(Debug, Clone, PartialEq)]
pub struct FormTarget {
    pub row: RowId,
    pub stored: FormerRequest,
    pub former: StoredValues,
}

impl FormTarget {
    /// A stage whose stored request is asked for by this call.
    pub fn await_stored(row: RowId, request: u64) -> Self {
        Self {
            row,
            stored: FormerRequest::Reading(request),
            former: StoredValues::default(),
        }
    }

    pub fn task(&self) -> &TaskId {
        &self.row.task
    }

    /// Returns the callback of the stored request, unless the daemon hides it.
    fn shown_callback(&self) -> Option<String> {
        let callback = self.former.callback.clone();
        callback.filter(|callback| !has_masked(&Value::from(callback.as_str())))
    }
}

impl Form {
    /// Lists what would differ in a stage.
    pub fn list_differences_of(&self, target: &FormTarget) -> Vec<InputDifference> {
        let mut former = self.with_own_names(&target.former.input);
        let changes = self.read_input();
        // What is not changed does not differ.
        former.retain(|name, _| changes.contains_key(name));
        InputDifference::list(&former, &changes)
    }

    /// Makes the request of a stage with the changes, or says why there is none.
    pub fn make_request_for(&self, target: &FormTarget) -> Result<SubmitRequest, String> {
        match &target.stored {
            FormerRequest::Taken => {}
            FormerRequest::Reading(_) => return Err("its stored request is being read".to_owned()),
            FormerRequest::Absent => return Err("it was removed".to_owned()),
            FormerRequest::Unread(why) => return Err(format!("its stored request could not be read: {why}")),
        }
        let mut input = self.with_own_names(&target.former.input);
        input.extend(self.read_input());
        let hidden: Vec<&str> = input
            .iter()
            .filter(|(_, value)| has_masked(value))
            .map(|(name, _)| name.as_str())
            .collect();
        if !hidden.is_empty() {
            let names = hidden.join(", ");
            return Err(format!("the daemon does not show the former {names}: type it"));
        }
        let request = self.make_request_of(input);
        Ok(SubmitRequest {
            task_id: Some(target.task().to_string()),
            callback: request.callback.or_else(|| target.shown_callback()),
            ..request
        })
    }

    /// Whether the field is one that each stage has for itself.
    pub fn is_of_each(&self, what: What) -> bool {
        !self.targets.is_empty() && matches!(what, What::Task)
    }
}
