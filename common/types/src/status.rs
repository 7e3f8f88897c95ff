//! The states of stages, tasks and callbacks, and the one rule that derives a task's status from its stages.

use std::fmt;

use serde::{Deserialize, Serialize};

/// State of one stage, as stored and as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StageState {
    Pending,
    Running,
    Success,
    Failed,
    Cancelled,
}

impl StageState {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Success,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Success => "SUCCESS",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Whether it waits or runs: a new submit joins it (R3).
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Reads a state as the older Python workers wrote it: any case, with their synonyms.
    pub fn parse_foreign(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "PENDING" => Some(Self::Pending),
            "RUNNING" | "IN_PROGRESS" => Some(Self::Running),
            "SUCCESS" | "COMPLETED" => Some(Self::Success),
            "FAILED" => Some(Self::Failed),
            "CANCELLED" => Some(Self::Cancelled),
            _ => None,
        }
    }
}

impl fmt::Display for StageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for StageState {
    type Err = crate::ids::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| crate::ids::InvalidId(format!("'{text}' is no stage state")))
    }
}

/// Status of a task, derived from its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl TaskStatus {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Derives the status: `running` if any stage runs, else `pending` if any waits, else that of the stage that ended
    /// last. A stage that ended without a known time counts as ended first. Returns `None` for no stages.
    pub fn derive<'a, T: PartialOrd + Copy + 'a>(
        stages: impl IntoIterator<Item = (StageState, Option<T>)>,
    ) -> Option<Self> {
        let mut waiting = false;
        let mut last: Option<(Option<T>, StageState)> = None;
        for (state, ended) in stages {
            match state {
                StageState::Running => return Some(Self::Running),
                StageState::Pending => waiting = true,
                _ => {
                    let later = match (&last, ended) {
                        (None, _) => true,
                        (Some((None, _)), _) => true,
                        (Some((Some(_), _)), None) => false,
                        (Some((Some(before), _)), Some(now)) => now >= *before,
                    };
                    if later {
                        last = Some((ended, state));
                    }
                }
            }
        }
        if waiting {
            return Some(Self::Pending);
        }
        last.map(|(_, state)| Self::from(state))
    }

    /// Whether it has not ended.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

impl From<StageState> for TaskStatus {
    fn from(state: StageState) -> Self {
        match state {
            StageState::Pending => Self::Pending,
            StageState::Running => Self::Running,
            StageState::Success => Self::Completed,
            StageState::Failed => Self::Failed,
            StageState::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for TaskStatus {
    type Err = crate::ids::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                crate::ids::InvalidId(format!(
                    "'{text}' is not one of pending, running, completed, failed, cancelled"
                ))
            })
    }
}

/// How the newest callback delivery of a task or stage stands (C4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallbackStatus {
    /// Asked for; the run has not ended, or a delivery still has tries left.
    Pending,
    /// The receiver answered 2xx.
    Sent,
    /// Given up after the last try.
    Failed,
}

impl CallbackStatus {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for CallbackStatus {
    type Err = crate::ids::InvalidId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Pending, Self::Sent, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| crate::ids::InvalidId(format!("'{text}' is no callback status")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_runs_if_any_stage_runs_else_waits_else_is_as_its_last_ended_stage() {
        use StageState::*;
        let derive = |stages: &[(StageState, Option<i64>)]| TaskStatus::derive(stages.iter().copied());
        assert_eq!(derive(&[]), None);
        assert_eq!(
            derive(&[(Success, Some(1)), (Running, None), (Pending, None)]),
            Some(TaskStatus::Running)
        );
        assert_eq!(derive(&[(Failed, Some(1)), (Pending, None)]), Some(TaskStatus::Pending));
        assert_eq!(
            derive(&[(Failed, Some(1)), (Success, Some(2))]),
            Some(TaskStatus::Completed)
        );
        assert_eq!(
            derive(&[(Failed, Some(3)), (Success, Some(2)), (Cancelled, None)]),
            Some(TaskStatus::Failed)
        );
    }
}
