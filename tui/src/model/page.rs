//! The pages of the dashboard.

/// What the screen shows between header and footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Page {
    /// The tree and the detail.
    #[default]
    Tasks,
    Callbacks,
    /// The catalog.
    Nodes,
    /// The form of a submit.
    Form,
    /// Registered videos.
    Videos,
    /// The form that registers a video.
    Register,
    /// The log of the stage in the detail, or of all stages of a task.
    Log,
    /// The runs of a task's stages in time.
    Timeline,
    /// Two runs side by side.
    Compare,
    /// What waits in each queue, what was counted, how long nodes take.
    Queues,
    /// How busy the daemon's machine was.
    Machine,
    /// Celery workers, their queues and what they run.
    Workers,
    /// The newest events.
    Events,
    /// What was done in this session, as commands.
    Commands,
    /// The input or output of the stage in the detail.
    Json,
    /// The files of a stage's result.
    Preview,
}

impl Page {
    pub const ALL: [Self; 16] = [
        Self::Tasks,
        Self::Callbacks,
        Self::Nodes,
        Self::Form,
        Self::Videos,
        Self::Register,
        Self::Log,
        Self::Timeline,
        Self::Compare,
        Self::Queues,
        Self::Machine,
        Self::Workers,
        Self::Events,
        Self::Commands,
        Self::Json,
        Self::Preview,
    ];

    /// Returns its name, as documents and files have it.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether keys type text on the page.
    pub fn is_typed(self) -> bool {
        matches!(self, Self::Form | Self::Register)
    }
}
