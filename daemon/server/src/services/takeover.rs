//! Stages that other workers write under a task are brought into our records (S5): one that has ended is taken over, one
//! in flight is noted, one that was not heard of for two hours counts as lost, and what the worker removes is forgotten.
//! So lists, events and the dashboard know what a view of the task shows.
//!
//! Redis tells of keys that are written ([`onceover_store::KeySubscription`]); where it does not, or while no daemon listened, a
//! stage is brought in step when its task is read. Nothing is scanned for. What is learned here decides nothing: a submit
//! looks at the keys of its node itself (R5).

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use indexmap::IndexSet;
use onceover_catalog::Catalog;
use onceover_types::{NodeName, StageState, TaskId};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Map, Value};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    ServiceError,
    folders::task_folder,
    foreign::{ForeignStage, LOST_AFTER, LOST_ERROR},
    input,
};
use crate::{events::EventBus, readiness::Readiness};
use onceover_limits::Limit;
use onceover_run::paths::Roots;
use onceover_store::{
    Adoption, ForeignJson, ForeignNews, ForeignNote, GatheredEvidence, KeyNotice, KeySubscription, LostStage, StageKey,
    Store,
};

/// Between two looks at a stage that another worker runs and a callback waits for.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Changed stages that wait to be compared. More are dropped and counted: reading their tasks finds them.
pub const MOST_CHANGED: usize = 10_000;
/// Stages that are compared in one call.
const BATCH: usize = 64;
/// How long a change waits for others, and how far apart two comparisons of one stage are at least.
const SETTLE: Duration = Duration::from_millis(50);
const ROUND: Duration = Duration::from_millis(100);
/// Before Redis is asked again that did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Between two looks for stages in flight that may count as lost.
const SWEEP: Duration = Duration::from_secs(20);
/// Stages in flight that are compared after the connection was lost, and in one sweep.
const MOST_NOTED: isize = 5_000;
/// Both spellings of a key, and one more look.
const LOOKS: usize = 3;

/// What became of a stage that another worker wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenOver {
    Adopted,
    /// Unreadable: it stands in nobody's way.
    Useless,
    /// In flight, but not heard of for too long: it stands in nobody's way either.
    Lost,
    InFlight(StageState),
}

/// What a foreign JSON is worth.
enum Judged {
    Finished(Box<ForeignStage>),
    InFlight(Box<ForeignStage>),
    Lost(Box<ForeignStage>),
    Useless,
}

impl Judged {
    fn as_taken_over(&self) -> TakenOver {
        match self {
            Self::Finished(_) => TakenOver::Adopted,
            Self::InFlight(stage) => TakenOver::InFlight(stage.state),
            Self::Lost(_) => TakenOver::Lost,
            Self::Useless => TakenOver::Useless,
        }
    }
}

/// Stages that other workers may have changed, each once, until [`follow`] compares them. Cheap to clone; all clones share
/// one set.
#[derive(Clone, Default)]
pub struct ChangedStages(Arc<ChangedSet>);

#[derive(Default)]
struct ChangedSet {
    waiting: Mutex<IndexSet<StageKey>>,
    grew: Notify,
    dropped: Counter,
}

impl ChangedStages {
    fn waiting(&self) -> MutexGuard<'_, IndexSet<StageKey>> {
        self.0.waiting.lock().expect("no thread panics with the changed stages")
    }

    /// Adds a stage. One that does not fit any more is counted.
    pub fn add(&self, stage: StageKey) {
        let mut waiting = self.waiting();
        if waiting.len() < MOST_CHANGED || waiting.contains(&stage) {
            waiting.insert(stage);
            self.0.grew.notify_one();
        } else {
            Limit::ForeignChanges.reached();
            self.0.dropped.inc();
        }
    }

    /// How many were dropped, for `GET /metrics`.
    pub fn dropped(&self) -> &Counter {
        &self.0.dropped
    }

    async fn wait(&self) {
        while self.waiting().is_empty() {
            self.0.grew.notified().await;
        }
    }

    fn take(&self) -> Vec<StageKey> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }
}

/// Compares stages as they change, until stopped.
pub async fn follow(stages: Arc<ForeignStages>, stop: CancellationToken) {
    let subscription = match stages.store.subscribe_to_keys() {
        Ok(subscription) => subscription,
        Err(error) => return tracing::error!(%error, "cannot listen to what other workers write"),
    };
    let work = async { tokio::join!(listen(&stages, subscription), compare(&stages), sweep(&stages)) };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = work => {}
    }
}

async fn listen(stages: &ForeignStages, mut subscription: KeySubscription) {
    // Our private Redis was started so that it tells.
    let mut is_known_to_tell = stages.store.is_private();
    while let Some(notice) = subscription.next().await {
        match notice {
            KeyNotice::Changed(stage) => stages.changed.add(stage),
            // What was in flight may have ended unheard.
            KeyNotice::Connected => {
                stages.add_noted(false).await;
                if !std::mem::replace(&mut is_known_to_tell, true) {
                    warn_where_nothing_is_told(&stages.store).await;
                }
            }
        }
    }
}

async fn warn_where_nothing_is_told(store: &Store) {
    match store.tells_of_keys().await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "Redis does not tell what other workers write: their stages are shown once their task is read; \
             `onceoverd check` says how to change that"
        ),
        Err(error) => tracing::debug!(%error, "whether Redis tells what other workers write is not known"),
    }
}

async fn sweep(stages: &ForeignStages) {
    let mut tick = interval(SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        stages.add_noted(true).await;
    }
}

async fn compare(stages: &ForeignStages) {
    let changed = &stages.changed;
    loop {
        changed.wait().await;
        let begun = Instant::now();
        sleep(SETTLE).await;
        loop {
            let asked = Instant::now();
            let batch = changed.take();
            match stages.note_changed(&batch).await {
                Ok(()) => {}
                Err(ServiceError::Unavailable(error)) => {
                    tracing::debug!(error, "stages of other workers not compared; they are compared again");
                    batch.into_iter().for_each(|stage| changed.add(stage));
                    sleep(RETRY).await;
                }
                Err(error) => tracing::error!(%error, ?batch, "stages of other workers cannot be compared"),
            }
            if changed.waiting().len() < BATCH {
                break;
            }
            // With many, half of Redis's time is left to others.
            sleep(asked.elapsed()).await;
        }
        sleep_until(begun + ROUND).await;
    }
}

/// Brings stages that other workers write into our records.
pub struct ForeignStages {
    store: Store,
    catalog: Arc<Catalog>,
    readiness: Arc<Readiness>,
    roots: Arc<Roots>,
    bus: EventBus,
    /// What other workers may have changed.
    changed: ChangedStages,
}

impl ForeignStages {
    pub fn new(
        store: Store,
        catalog: Arc<Catalog>,
        readiness: Arc<Readiness>,
        roots: Arc<Roots>,
        bus: EventBus,
        changed: ChangedStages,
    ) -> Self {
        Self {
            store,
            catalog,
            readiness,
            roots,
            bus,
            changed,
        }
    }

    /// Has a stage compared that another worker runs and that a client waits for.
    pub(super) fn compare_later(&self, task: &TaskId, node: &NodeName) {
        self.changed.add((task.clone(), node.clone()));
    }

    /// Has compared what is noted as in flight; with `only_due` what may count as lost.
    async fn add_noted(&self, only_due: bool) {
        match self.store.noted(only_due.then_some(LOST_AFTER), MOST_NOTED).await {
            Ok(stages) => stages.into_iter().for_each(|stage| self.changed.add(stage)),
            Err(error) => tracing::debug!(%error, "stages that other workers have in flight not looked at"),
        }
    }

    /// Brings stages in step with what lies under their keys.
    async fn note_changed(&self, stages: &[StageKey]) -> Result<(), ServiceError> {
        let mut rest = stages;
        while !rest.is_empty() {
            let (news, count) = self.store.news(rest, LOST_AFTER, &[]).await?;
            for one in news {
                self.note_news(one).await?;
            }
            rest = &rest[count.clamp(1, rest.len())..];
        }
        Ok(())
    }

    async fn note_news(&self, news: ForeignNews) -> Result<(), ServiceError> {
        let stage = [(news.task.clone(), news.node.clone())];
        let mut next = Some(news);
        let mut looked = GatheredEvidence::default();
        for _ in 0..LOOKS {
            let Some(news) = next else { return Ok(()) };
            let taken = self.note(&news.task, &news.node, &news.json, news.is_overdue).await?;
            if taken != TakenOver::Useless {
                return Ok(());
            }
            let (task, node, key) = (&news.task, &news.node, &news.json.key);
            tracing::debug!(task_id = %task, task_name = %node, key, "the JSON of another worker holds no such stage");
            // There may be one under each spelling.
            looked.set_aside(&news.json.sha);
            let (more, _) = self.store.news(&stage, LOST_AFTER, &looked.ignore).await?;
            next = more.into_iter().next();
        }
        Ok(())
    }

    /// Brings one stage in step with its JSON, whatever its state.
    pub async fn note(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
        is_overdue: bool,
    ) -> Result<TakenOver, ServiceError> {
        let judged = match self.judge(node, json) {
            Judged::InFlight(stage) if is_overdue => Judged::Lost(stage),
            judged => judged,
        };
        match &judged {
            Judged::Finished(stage) => self.adopt(task, node, json, stage).await?,
            Judged::InFlight(stage) => {
                let note = ForeignNote {
                    task,
                    node,
                    foreign: json,
                    queue: self.queue_of(node),
                    state: stage.state,
                    written_ms: stage.written.as_millis(),
                    lost_ms: stage.lost_at().as_millis(),
                    created_ms: stage.created.as_millis(),
                    progress: stage.progress,
                    duration_ms: milliseconds(stage.duration),
                };
                self.store.note(&note).await?;
            }
            Judged::Lost(stage) => {
                let path = task_folder(&self.roots, task).display().to_string();
                let lost = LostStage {
                    is_there: true,
                    ignore: std::slice::from_ref(&json.sha),
                    ended_ms: stage.lost_at().min(self.store.now()).as_millis(),
                    ..self.lost(task, node, &path)
                };
                self.give_up(&lost).await?;
            }
            Judged::Useless => {}
        }
        Ok(judged.as_taken_over())
    }

    /// Makes a finished foreign result a record of ours.
    pub async fn take_over(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
    ) -> Result<TakenOver, ServiceError> {
        let judged = self.judge(node, json);
        if let Judged::Finished(stage) = &judged {
            // Taken over or changed meanwhile: the next check sees which.
            self.adopt(task, node, json, stage).await?;
        }
        Ok(judged.as_taken_over())
    }

    async fn adopt(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
        stage: &ForeignStage,
    ) -> Result<(), ServiceError> {
        let text = |object: &Map<String, Value>| serde_json::to_string(object).expect("JSON can be written");
        let reusable = match self.catalog.get(node.as_str()) {
            Some(spec) => spec.output_is_reusable(&stage.output),
            None => !stage.output.is_empty(),
        };
        self.store
            .adopt(&Adoption {
                task,
                node,
                foreign: json,
                queue: self.queue_of(node),
                state: stage.state,
                input: &text(&stage.input),
                input_public: &text(&input::public(&stage.input)),
                output: &text(&stage.output),
                reusable,
                warned: stage.warned(),
                error: stage.error.as_deref(),
                duration_ms: milliseconds(stage.duration),
                ended_ms: stage.written.as_millis(),
                created_ms: stage.created.as_millis(),
                path: &task_folder(&self.roots, task).display().to_string(),
            })
            .await?;
        Ok(())
    }

    /// Looks whether stages that other workers run, and that callbacks wait for, have ended, and reports those that are
    /// lost as FAILED.
    pub async fn check_watched(&self) -> Result<(), ServiceError> {
        for (task, name) in self.store.watched(WATCH_INTERVAL).await? {
            let mut looked = GatheredEvidence::default();
            loop {
                let Some((json, _)) = self.store.look(&task, &name, &looked.ignore).await? else {
                    let path = task_folder(&self.roots, &task).display().to_string();
                    let lost = LostStage {
                        ignore: &looked.ignore,
                        ..self.lost(&task, &name, &path)
                    };
                    self.give_up(&lost).await?;
                    break;
                };
                match self.take_over(&task, &name, &json).await? {
                    TakenOver::Adopted => {
                        self.bus.outbox_grew();
                        break;
                    }
                    TakenOver::InFlight(_) => break,
                    TakenOver::Useless | TakenOver::Lost => looked.set_aside(&json.sha),
                }
            }
        }
        Ok(())
    }

    fn lost<'a>(&'a self, task: &'a TaskId, node: &'a NodeName, path: &'a str) -> LostStage<'a> {
        LostStage {
            task,
            node,
            is_there: false,
            ignore: &[],
            queue: self.queue_of(node),
            path,
            error: LOST_ERROR,
            ended_ms: self.store.now().as_millis(),
        }
    }

    async fn give_up(&self, lost: &LostStage<'_>) -> Result<(), ServiceError> {
        if self.store.unwatch(lost).await? > 0 {
            tracing::warn!(task_id = %lost.task, task_name = %lost.node, "{}", lost.error);
            self.bus.outbox_grew();
        }
        Ok(())
    }

    /// Empty for a node that is not in the catalog.
    fn queue_of(&self, node: &NodeName) -> &str {
        self.catalog
            .get(node.as_str())
            .map_or("", |spec| spec.queue_for(&Map::new(), self.readiness.gpu()))
    }

    /// What [`ForeignStages::note`] would answer, without a trace.
    pub fn would_note(&self, node: &NodeName, json: &ForeignJson) -> TakenOver {
        self.judge(node, json).as_taken_over()
    }

    fn judge(&self, node: &NodeName, json: &ForeignJson) -> Judged {
        let now = self.store.now();
        match ForeignStage::read(node, json, self.store.options().ttl.as_secs(), now).map(Box::new) {
            None => Judged::Useless,
            Some(stage) if stage.is_lost(now) => Judged::Lost(stage),
            Some(stage) if stage.state.in_flight() => Judged::InFlight(stage),
            Some(stage) => Judged::Finished(stage),
        }
    }
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(number: usize) -> StageKey {
        let task = TaskId::parse(&format!("t{number}")).unwrap();
        (task, NodeName::parse("a.b").unwrap())
    }

    #[test]
    fn s5_changed_stages_wait_once_each_in_order_and_no_more_than_the_limit() {
        let changed = ChangedStages::default();
        for number in [1, 2, 1, 3, 1] {
            changed.add(stage(number));
        }
        assert_eq!(changed.take(), [stage(1), stage(2), stage(3)]);
        assert!(changed.take().is_empty());
        for number in 0..MOST_CHANGED + 5 {
            changed.add(stage(number));
        }
        changed.add(stage(0));
        assert_eq!((changed.waiting().len(), changed.dropped().get()), (MOST_CHANGED, 5));
        assert_eq!(changed.take().len(), BATCH);
        assert!(Limit::ForeignChanges.times_reached() >= 5);
    }
}
