//! The states that tasks were in before the last changes, and which of them is shown. The store notes a task here
//! before it changes it, and reads from here what differs from the present while the view is frozen.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use onceover_types::{TaskId, Timestamp};

use super::task::Task;

/// Changes that can be stepped back at most, and what their former states may take together.
pub const MOST_STEPS: usize = 10_000;
pub const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a frozen view may keep beside the present; one that needs more has to end.
pub const MOST_SHOWN_BYTES: usize = 64 * 1024 * 1024;

/// What a step of a pipeline is taken to need.
const BYTES_OF_STEP: usize = 512;

/// A task in another state than the present one; `None`: it does not exist there.
type OtherState = (Arc<TaskId>, Option<Task>);

/// What one change has replaced, or brings back.
#[derive(Debug)]
struct PastStep {
    at: Timestamp,
    states: Vec<OtherState>,
    bytes: usize,
}

/// A view that stands still.
#[derive(Debug)]
pub struct FrozenView {
    /// When it was frozen.
    since: Timestamp,
    /// The time that is shown.
    at: Timestamp,
    /// Tasks that are shown in another state than the present one.
    shown: HashMap<Arc<TaskId>, Option<Task>>,
    /// What these need.
    shown_bytes: usize,
    /// Whether `shown` has every task: everything was read again meanwhile.
    is_whole: bool,
    /// Changes that were stepped back, the one that comes next last; each holds the states after it.
    undone: Vec<PastStep>,
    /// Changes that came while the view stood still, each with the states before it.
    fresh: VecDeque<PastStep>,
    /// Whether some of these are not kept.
    has_hole: bool,
    /// Changes that have come and are not shown, those that are not kept included.
    arrived: usize,
}

/// Where a frozen view is among the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastPosition {
    /// When it was frozen.
    pub since: Timestamp,
    /// The time that is shown.
    pub at: Timestamp,
    /// Changes that were stepped back.
    pub back: usize,
    /// Changes that can still be stepped back.
    pub kept: usize,
    /// Changes that have come since and are not shown.
    pub arrived: usize,
}

/// The former states of tasks, and the frozen view.
#[derive(Debug, Default)]
pub struct Past {
    /// Changes that what is shown includes, the oldest first; each holds the states before it.
    steps: VecDeque<PastStep>,
    /// What all steps need together.
    bytes: usize,
    frozen: Option<FrozenView>,
}

impl Past {
    /// Notes a task before it changes, or before it exists. With a time, a change begins at it; without one, more is
    /// read of what the last change was about.
    pub fn note(&mut self, id: &TaskId, former: Option<&Task>, at: Option<Timestamp>) {
        let mut is_lost = false;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(id, former);
            frozen.arrived += usize::from(at.is_some());
            is_lost = frozen.has_hole;
        }
        if is_lost {
            return;
        }
        let bytes = weigh(former);
        let steps = match &mut self.frozen {
            Some(frozen) => &mut frozen.fresh,
            None => &mut self.steps,
        };
        let state = (share_id(id, former), former.cloned());
        if let Some(at) = at {
            steps.push_back(PastStep {
                at,
                states: vec![state],
                bytes,
            });
        } else if let Some(last) = steps.back_mut() {
            last.states.push(state);
            last.bytes += bytes;
        } else {
            return;
        }
        self.bytes += bytes;
        self.drop_oldest();
    }

    /// Notes a task before what was read replaces it. That is no change to step to, but what is shown stays while it is
    /// frozen.
    pub fn note_reread(&mut self, id: &TaskId, former: Option<&Task>) {
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(id, former);
        }
    }

    /// Notes that changes are missing: what came before them can no longer be stepped to from what comes after.
    pub fn note_hole(&mut self) {
        match &mut self.frozen {
            Some(frozen) => self.bytes -= frozen.drop_fresh(),
            None => {
                self.steps.clear();
                self.bytes = 0;
            }
        }
    }

    /// Notes that all tasks go, and others are read; `former` are all until then. What is shown stays while it is
    /// frozen.
    pub fn note_load(&mut self, former: HashMap<Arc<TaskId>, Task>) {
        if let Some(frozen) = self.frozen.as_mut().filter(|frozen| !frozen.is_whole) {
            for (id, task) in former {
                frozen.shown_bytes += weigh(Some(&task));
                frozen.shown.entry(id).or_insert(Some(task));
            }
            frozen.is_whole = true;
        }
        self.note_hole();
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether the frozen view needs more memory than it may have.
    pub fn is_too_large(&self) -> bool {
        let frozen = self.frozen.as_ref();
        frozen.is_some_and(|frozen| frozen.shown_bytes > MOST_SHOWN_BYTES)
    }

    /// Stops the view.
    pub fn freeze(&mut self, now: Timestamp) {
        self.frozen = Some(FrozenView {
            since: now,
            at: now,
            shown: HashMap::new(),
            shown_bytes: 0,
            is_whole: false,
            undone: Vec::new(),
            fresh: VecDeque::new(),
            has_hole: false,
            arrived: 0,
        });
    }

    /// Shows the present again.
    pub fn unfreeze(&mut self) {
        let Some(mut frozen) = self.frozen.take() else {
            return;
        };
        while let Some(step) = frozen.undone.pop() {
            // Each task of an undone change is among those that are shown.
            let step = frozen.exchange(step, |_| None);
            self.steps.push_back(step);
        }
        if frozen.has_hole {
            self.steps.clear();
        } else {
            self.steps.append(&mut frozen.fresh);
        }
        self.bytes = self.steps.iter().map(|step| step.bytes).sum();
    }

    /// Shows the state before the last change that is shown; `present` returns a task as it is now. Returns the tasks
    /// that the change was about; `None` if no earlier state is kept.
    pub fn step_back(&mut self, present: impl Fn(&TaskId) -> Option<Task>) -> Option<Vec<Arc<TaskId>>> {
        let frozen = self.frozen.as_mut()?;
        let step = self.steps.pop_back()?;
        // What is shown is true from the change before on.
        frozen.at = self.steps.back().map_or(step.at, |before| before.at);
        let step = frozen.exchange(step, present);
        let tasks = step.list_tasks();
        frozen.undone.push(step);
        Some(tasks)
    }

    /// Shows the state after the next change. Returns the tasks that the change was about; `None` if it is not kept, or
    /// nothing has changed since.
    pub fn step_forward(&mut self, present: impl Fn(&TaskId) -> Option<Task>) -> Option<Vec<Arc<TaskId>>> {
        let frozen = self.frozen.as_mut()?;
        let step = match frozen.undone.pop() {
            Some(step) => {
                frozen.at = step.at;
                frozen.exchange(step, present)
            }
            None => frozen.show_fresh(present)?,
        };
        let tasks = step.list_tasks();
        self.steps.push_back(step);
        Some(tasks)
    }

    /// Returns where the frozen view is; `None` if the present is shown.
    pub fn position(&self) -> Option<PastPosition> {
        let frozen = self.frozen.as_ref()?;
        Some(PastPosition {
            since: frozen.since,
            at: frozen.at,
            back: frozen.undone.len(),
            kept: self.steps.len(),
            arrived: frozen.arrived,
        })
    }

    /// Returns a task as it is shown, `Some(None)` if it does not exist there; `None` where the present one is shown.
    pub fn shown(&self, id: &TaskId) -> Option<Option<&Task>> {
        let frozen = self.frozen.as_ref()?;
        match frozen.shown.get(id) {
            Some(task) => Some(task.as_ref()),
            None => frozen.is_whole.then_some(None),
        }
    }

    /// Whether everything that is shown is kept apart from the present.
    pub fn is_whole(&self) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| frozen.is_whole)
    }

    /// Lists the tasks that may be shown in another state than the present one, with that state.
    pub fn shown_states(&self) -> impl Iterator<Item = (&Arc<TaskId>, Option<&Task>)> {
        let shown = self.frozen.iter().flat_map(|frozen| &frozen.shown);
        shown.map(|(id, task)| (id, task.as_ref()))
    }

    /// Lists the tasks that are shown in another state than the present one.
    pub fn shown_tasks(&self) -> impl Iterator<Item = &Task> {
        self.shown_states().filter_map(|(_, task)| task)
    }

    /// Takes the frozen view away, so that the present is read until it is put back.
    pub fn set_aside(&mut self) -> Option<FrozenView> {
        self.frozen.take()
    }

    /// Puts back what was taken away.
    pub fn put_back(&mut self, frozen: Option<FrozenView>) {
        self.frozen = frozen;
    }

    /// Keeps within the limits: forgets the oldest changes, and where none is left those that are not shown yet.
    fn drop_oldest(&mut self) {
        loop {
            let aside = self.frozen.as_ref().map_or(0, FrozenView::count_steps);
            if self.steps.len() + aside <= MOST_STEPS && self.bytes <= MOST_BYTES {
                return;
            }
            match (self.steps.pop_front(), &mut self.frozen) {
                (Some(step), _) => self.bytes -= step.bytes,
                (None, Some(frozen)) => {
                    self.bytes -= frozen.drop_fresh();
                    return;
                }
                (None, None) => return,
            }
        }
    }
}

impl PastStep {
    fn list_tasks(&self) -> Vec<Arc<TaskId>> {
        self.states.iter().map(|(id, _)| id.clone()).collect()
    }
}

impl FrozenView {
    /// Keeps a task as it is shown, before it changes.
    fn keep(&mut self, id: &TaskId, former: Option<&Task>) {
        if !self.is_whole && !self.shown.contains_key(id) {
            self.shown.insert(share_id(id, former), former.cloned());
            self.shown_bytes += weigh(former);
        }
    }

    /// Counts the changes that are not shown and can be stepped to.
    fn count_steps(&self) -> usize {
        self.undone.len() + self.fresh.len()
    }

    /// Forgets the changes that came since. Returns what they needed.
    fn drop_fresh(&mut self) -> usize {
        self.has_hole = true;
        self.fresh.drain(..).map(|step| step.bytes).sum()
    }

    /// Shows the states of a change. Returns the change with the states that were shown before.
    fn exchange(&mut self, step: PastStep, present: impl Fn(&TaskId) -> Option<Task>) -> PastStep {
        let mut replaced = Vec::with_capacity(step.states.len());
        for (id, state) in step.states.into_iter().rev() {
            let before = match self.shown.insert(id.clone(), state) {
                Some(shown) => shown,
                None if self.is_whole => None,
                None => present(&id),
            };
            replaced.push((id, before));
        }
        PastStep {
            at: step.at,
            states: replaced,
            bytes: step.bytes,
        }
    }

    /// Shows the next change of those that came since. Returns it; `None` if there is none.
    fn show_fresh(&mut self, present: impl Fn(&TaskId) -> Option<Task>) -> Option<PastStep> {
        let step = self.fresh.pop_front()?;
        for (id, _) in &step.states {
            // A later change knows what this one has left; else nothing has changed it since.
            let mut later = self.fresh.iter().flat_map(|step| &step.states);
            let after = match later.find(|(other, _)| other == id) {
                Some((_, state)) => state.clone(),
                None => present(id),
            };
            self.shown.insert(id.clone(), after);
        }
        self.at = step.at;
        self.arrived = self.arrived.saturating_sub(1);
        Some(step)
    }
}

/// Returns the id as the task has it.
fn share_id(id: &TaskId, task: Option<&Task>) -> Arc<TaskId> {
    task.map_or_else(|| Arc::new(id.clone()), |task| task.id.clone())
}

/// Estimates the memory that a state needs.
fn weigh(task: Option<&Task>) -> usize {
    let of_task = |task: &Task| {
        let steps = task.pipeline.as_ref().map_or(0, |it| it.processing.tasks.len());
        size_of::<Task>() + task.stages.count_bytes() + steps * BYTES_OF_STEP
    };
    size_of::<PastStep>() + size_of::<OtherState>() + task.map_or(0, of_task)
}

#[cfg(test)]
mod tests {
    use onceover_types::TaskStatus;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// A task whose state is distinguished by the time of its last change.
    fn task(id: &str, seconds: i64) -> Task {
        Task {
            id: Arc::new(TaskId::parse(id).unwrap()),
            created_at: at(0),
            updated_at: at(seconds),
            status: TaskStatus::Running,
            callback_status: None,
            stages: Default::default(),
            pipeline: None,
            load: 0,
        }
    }

    /// Tasks that change, as the store has them.
    #[derive(Default)]
    struct Present {
        tasks: HashMap<Arc<TaskId>, Task>,
        past: Past,
    }

    impl Present {
        fn change(&mut self, id: &str, seconds: i64) {
            let id = TaskId::parse(id).unwrap();
            self.past.note(&id, self.tasks.get(&id), Some(at(seconds)));
            let task = task(id.as_str(), seconds);
            self.tasks.insert(task.id.clone(), task);
        }

        fn step(&mut self, is_back: bool) -> bool {
            let tasks = &self.tasks;
            let present = |id: &TaskId| tasks.get(id).cloned();
            match is_back {
                true => self.past.step_back(present).is_some(),
                false => self.past.step_forward(present).is_some(),
            }
        }

        /// The seconds of the last changes of `a` and `b` as they are shown, 0 where one does not exist.
        fn shown(&self) -> [i64; 2] {
            ["a", "b"].map(|id| {
                let id = TaskId::parse(id).unwrap();
                let task = match self.past.shown(&id) {
                    Some(shown) => shown,
                    None => self.tasks.get(&id),
                };
                task.map_or(0, |task| task.updated_at.as_millis() / 1_000)
            })
        }
    }

    #[test]
    fn tui22_each_step_shows_the_exact_state_before_and_after_a_change() {
        let mut present = Present::default();
        let mut states = vec![[0, 0]];
        let changes = [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5), ("a", 6)];
        for (index, (id, seconds)) in changes.into_iter().enumerate() {
            if index == 4 {
                present.past.freeze(at(4));
            }
            present.change(id, seconds);
            let mut state = *states.last().unwrap();
            state[usize::from(id == "b")] = seconds;
            states.push(state);
        }
        assert_eq!(present.shown(), states[4], "what came since is not shown");
        assert_eq!(present.past.position().unwrap().arrived, 2);
        for state in states[..4].iter().rev() {
            assert!(present.step(true));
            assert_eq!(present.shown(), *state);
        }
        assert!(!present.step(true), "nothing earlier is kept");
        for state in &states[1..] {
            assert!(present.step(false));
            assert_eq!(present.shown(), *state);
        }
        assert!(!present.step(false), "this is the present");
        present.past.unfreeze();
        assert_eq!(present.shown(), states[6]);
        present.past.freeze(at(7));
        assert_eq!(present.past.position().unwrap().kept, 6);
        for state in states[..6].iter().rev() {
            assert!(present.step(true));
            assert_eq!(present.shown(), *state);
        }
    }

    #[test]
    fn tui22_what_is_shown_stays_where_everything_is_read_again() {
        let mut present = Present::default();
        present.change("a", 1);
        present.change("b", 2);
        present.past.freeze(at(2));
        present.past.note_load(std::mem::take(&mut present.tasks));
        present.change("a", 9);
        assert_eq!(present.shown(), [1, 2]);
        assert!(present.step(true));
        assert_eq!(present.shown(), [1, 0]);
        assert!(present.step(false));
        assert_eq!(present.shown(), [1, 2]);
        assert!(!present.step(false), "what came between is not known");
        present.past.unfreeze();
        assert_eq!(present.shown(), [9, 0]);
        present.past.freeze(at(9));
        assert!(!present.step(true), "the past has a hole");
    }

    #[test]
    fn tui22_the_past_is_bounded_frozen_or_not() {
        let mut present = Present::default();
        for number in 0..MOST_STEPS as i64 + 10 {
            present.change("a", number);
        }
        assert!(present.past.steps.len() <= MOST_STEPS && present.past.bytes <= MOST_BYTES);
        present.past.freeze(at(0));
        let shown = present.shown();
        for number in 0..3 * MOST_STEPS as i64 {
            present.change("b", number);
        }
        let aside = present.past.frozen.as_ref().unwrap().count_steps();
        assert!(present.past.steps.len() + aside <= MOST_STEPS && present.past.bytes <= MOST_BYTES);
        assert_eq!(present.shown(), shown);
        assert_eq!(present.past.position().unwrap().arrived, 3 * MOST_STEPS);
        present.past.unfreeze();
        let bytes: usize = present.past.steps.iter().map(|step| step.bytes).sum();
        assert_eq!(present.past.bytes, bytes);
    }

    #[test]
    fn tui22_a_frozen_view_that_keeps_too_much_says_so() {
        let mut past = Past::default();
        past.freeze(at(0));
        let mut former = task("film", 0);
        for number in 0..MOST_SHOWN_BYTES / weigh(Some(&former)) + 1 {
            assert!(!past.is_too_large());
            former.id = Arc::new(TaskId::parse(&format!("film-{number}")).unwrap());
            past.note(&former.id.clone(), Some(&former), Some(at(1)));
        }
        assert!(past.is_too_large());
        past.unfreeze();
        assert!(!past.is_too_large());
    }
}
