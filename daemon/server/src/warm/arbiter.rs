//! Who has to go when memory is short. Only processes that do nothing are named, those first that were used longest ago.

/// A process that keeps a model and does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdleProcess {
    pub(super) id: u64,
    /// Bytes that it holds; `None` where that is neither measured nor declared.
    pub(super) holds: Option<u64>,
}

/// Memory that processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MemoryBudget {
    /// Bytes that there are; `None` where that is not known.
    pub(super) total: Option<u64>,
    /// Bytes that processes hold which must not be ended.
    pub(super) busy: u64,
    /// Bytes that the next one needs; `None` where that is not known.
    pub(super) need: Option<u64>,
}

/// Chooses the processes to end so that the next one has what it needs. `idle` is in the order of their use, the one that
/// was used longest ago first. Where a figure is missing, the careful answer is all of them.
pub(super) fn choose_ended(budget: MemoryBudget, idle: &[IdleProcess]) -> Vec<u64> {
    let (Some(total), Some(need)) = (budget.total, budget.need) else {
        return idle.iter().map(|process| process.id).collect();
    };
    let mut kept: u64 = idle
        .iter()
        .filter_map(|process| process.holds)
        .fold(0, u64::saturating_add);
    let taken = budget.busy.saturating_add(need);
    let mut ended = Vec::new();
    for process in idle {
        let Some(holds) = process.holds else {
            // It may hold all of it.
            ended.push(process.id);
            continue;
        };
        if taken.saturating_add(kept) > total {
            kept = kept.saturating_sub(holds);
            ended.push(process.id);
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// Processes that hold so many gibibytes, the one that was used longest ago first.
    fn idle(holds: &[u64]) -> Vec<IdleProcess> {
        let processes = (0..).zip(holds);
        processes
            .map(|(id, holds)| IdleProcess {
                id,
                holds: Some(holds * GIB),
            })
            .collect()
    }

    fn budget(total: u64, busy: u64, need: u64) -> MemoryBudget {
        MemoryBudget {
            total: Some(total * GIB),
            busy: busy * GIB,
            need: Some(need * GIB),
        }
    }

    #[test]
    fn nobody_goes_while_there_is_room() {
        assert_eq!(choose_ended(budget(24, 0, 10), &idle(&[6, 8])), [0; 0]);
        assert_eq!(choose_ended(budget(24, 0, 24), &[]), [0; 0]);
    }

    #[test]
    fn those_go_that_were_used_longest_ago_and_no_more_than_needed() {
        assert_eq!(choose_ended(budget(24, 0, 11), &idle(&[6, 8, 5])), [0]);
        assert_eq!(choose_ended(budget(24, 0, 12), &idle(&[6, 8, 5])), [0, 1]);
        assert_eq!(choose_ended(budget(24, 0, 24), &idle(&[6, 8, 5])), [0, 1, 2]);
    }

    #[test]
    fn what_is_at_work_counts_and_cannot_go() {
        assert_eq!(choose_ended(budget(24, 10, 8), &idle(&[6])), [0; 0]);
        assert_eq!(choose_ended(budget(24, 11, 8), &idle(&[6])), [0]);
        // More is needed than there will ever be: the run says so itself, with all the memory that can be had.
        assert_eq!(choose_ended(budget(24, 20, 30), &idle(&[6, 1])), [0, 1]);
    }

    #[test]
    fn where_a_figure_is_missing_all_go_that_may_be_in_the_way() {
        let unknown = MemoryBudget {
            total: None,
            ..budget(0, 0, 1)
        };
        assert_eq!(choose_ended(unknown, &idle(&[1, 1])), [0, 1]);
        let undeclared = MemoryBudget {
            need: None,
            ..budget(24, 0, 0)
        };
        assert_eq!(choose_ended(undeclared, &idle(&[1, 1])), [0, 1]);
        let mut processes = idle(&[1, 1]);
        processes[1].holds = None;
        assert_eq!(choose_ended(budget(24, 0, 4), &processes), [1]);
    }
}
