//! How long a stage that runs may still take: by its progress, else by what runs of its node took before.

use onceover_types::{NodeName, StageState, Timestamp};
use onceover_wire::{NodeFigures, NodeStatistics};

use crate::figures::{format_long, format_ticking};

/// While something runs the figures of nodes are read this often.
const READ_EACH_MS: i64 = 60_000;

/// How long the rest may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RestTime {
    /// About so many seconds.
    About(f64),
    /// At most so many seconds: half of the runs are shorter than this one already.
    AtMost(f64),
    /// This run takes longer than 95 % of the others, which took so many seconds at most.
    LongerThanUsual(f64),
}

impl RestTime {
    /// Writes it: `eta 1 m 50 s`.
    pub fn describe(self) -> String {
        match self {
            Self::About(seconds) => format!("eta {}", format_long(seconds)),
            Self::AtMost(seconds) => format!("eta up to {}", format_long(seconds)),
            Self::LongerThanUsual(usual) => format!("longer than usual: p95 {}", format_long(usual)),
        }
    }

    /// Writes it into a column: `~12 s` or `~01:50`, or that it is late.
    pub fn describe_short(self) -> String {
        match self {
            Self::About(seconds) | Self::AtMost(seconds) => format!("~{}", format_ticking(seconds)),
            Self::LongerThanUsual(_) => "late".to_owned(),
        }
    }
}

/// Estimates the rest of a run; `None` where nothing is known, or nothing runs.
///
/// `progress` is in percent, `seconds` is how long it has run.
pub fn estimate_rest(
    state: StageState,
    progress: Option<f64>,
    seconds: f64,
    figures: Option<&NodeFigures>,
) -> Option<RestTime> {
    if state != StageState::Running {
        return None;
    }
    if let Some(progress) = progress.filter(|progress| (1.0..100.0).contains(progress)) {
        return Some(RestTime::About(seconds * (100.0 - progress) / progress));
    }
    let figures = figures.filter(|figures| figures.p50_ms > 0)?;
    let usual = figures.p50_ms as f64 / 1_000.0;
    let most = figures.p95_ms.max(figures.p50_ms) as f64 / 1_000.0;
    Some(if seconds <= usual {
        RestTime::About(usual - seconds)
    } else if seconds <= most {
        RestTime::AtMost(most - seconds)
    } else {
        RestTime::LongerThanUsual(most)
    })
}

/// What is known of how long the runs of each node take.
#[derive(Debug, Default)]
pub struct NodeEstimates {
    pub known: NodeStatistics,
    pub request: Option<u64>,
    /// When they were asked for last.
    pub asked_at: Option<Timestamp>,
}

impl NodeEstimates {
    /// Returns the figures of a node.
    pub fn find(&self, node: &NodeName) -> Option<&NodeFigures> {
        self.known.nodes.get(node)
    }

    /// Returns when to ask again: once at the start, then as long as something runs.
    pub fn due_at(&self, now: Timestamp, runs: bool) -> Option<Timestamp> {
        match self.asked_at {
            _ if self.request.is_some() => None,
            None => Some(now),
            Some(asked) if runs => Some(Timestamp::from_millis(asked.as_millis() + READ_EACH_MS)),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_wins_over_what_other_runs_took_and_nothing_is_below_zero() {
        let figures = NodeFigures {
            p50_ms: 100_000,
            p95_ms: 180_000,
            ..NodeFigures::default()
        };
        let words = |progress, seconds: i64| {
            estimate_rest(StageState::Running, progress, seconds as f64, Some(&figures)).map(RestTime::describe)
        };
        let words = [
            words(Some(50.0), 110),
            words(None, 30),
            words(Some(0.0), 30),
            words(None, 150),
            words(None, 200),
        ];
        assert_eq!(
            words.map(Option::unwrap),
            [
                "eta 1 m 50 s",
                "eta 1 m 10 s",
                "eta 1 m 10 s",
                "eta up to 30 s",
                "longer than usual: p95 3 m 0 s"
            ]
        );
        assert_eq!(estimate_rest(StageState::Running, None, 1.0, None), None);
        let none = NodeFigures::default();
        assert_eq!(estimate_rest(StageState::Running, None, 1.0, Some(&none)), None);
    }

    #[test]
    fn figures_are_read_once_and_again_only_while_something_runs() {
        let at = Timestamp::from_millis;
        let mut estimates = NodeEstimates::default();
        assert_eq!(estimates.due_at(at(5), false), Some(at(5)));
        estimates.asked_at = Some(at(5));
        assert_eq!(estimates.due_at(at(5), false), None);
        assert_eq!(estimates.due_at(at(5), true), Some(at(60_005)));
        estimates.request = Some(1);
        assert_eq!(estimates.due_at(at(5), true), None);
    }
}
