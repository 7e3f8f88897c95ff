//! Drafts: forms that were left with something typed. One is offered when a form of the same row is opened again, and
//! never used by itself or for another row.

use onceover_types::Timestamp;

use super::form::{Form, FormRow};

/// Drafts that are kept at most.
const MOST_DRAFTS: usize = 20;

/// A form that was left.
#[derive(Debug)]
pub struct FormDraft {
    pub form: Form,
    pub left_at: Timestamp,
}

/// The drafts, at most one a row, the oldest first.
#[derive(Debug, Default)]
pub struct Drafts {
    kept: Vec<FormDraft>,
}

impl Drafts {
    /// Keeps a form instead of a former draft of its row. Where there are too many, drops the oldest that waits for no
    /// answer.
    pub fn keep(&mut self, form: Form, left_at: Timestamp) {
        self.take(&form.row);
        self.kept.push(FormDraft { form, left_at });
        if self.kept.len() > MOST_DRAFTS
            && let Some(oldest) = self.kept.iter().position(|draft| draft.form.request.is_none())
        {
            self.kept.remove(oldest);
        }
    }

    pub fn find(&self, row: &FormRow) -> Option<&FormDraft> {
        self.kept.iter().find(|draft| draft.form.row == *row)
    }

    pub fn take(&mut self, row: &FormRow) -> Option<FormDraft> {
        self.take_where(|form| form.row == *row)
    }

    /// Takes the draft whose submit was this call.
    pub fn take_submitted(&mut self, request: u64) -> Option<FormDraft> {
        self.take_where(|form| form.request == Some(request))
    }

    fn take_where(&mut self, is_wanted: impl Fn(&Form) -> bool) -> Option<FormDraft> {
        let index = self.kept.iter().position(|draft| is_wanted(&draft.form))?;
        Some(self.kept.remove(index))
    }
}
