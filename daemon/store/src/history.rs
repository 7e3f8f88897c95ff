//! The runs of a stage: the newest, which its record holds, and those before it, which `history.lua` keeps.

use std::cmp::Reverse;

use onceover_limits::Limit;
use onceover_types::{NodeName, Object, StageState, TaskId, Timestamp};
use onceover_wire::{AttemptTimes, PastRun};
use redis::AsyncCommands;
use serde::Deserialize;

use super::{Store, StoreError, record::StageRecord};

/// Bytes of input and output, as JSON, that are kept of a run once its record holds another one; Lua's
/// `KEPT_VALUES_BYTES` are the same.
pub const MOST_RUN_BYTES: u64 = 64 << 10;
/// Stages that a run is shown to need.
pub const MOST_NEEDS: usize = 32;

/// Characters of a run's error that are shown with its last attempt.
const ATTEMPT_ERROR: usize = 200;

/// The runs of a stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageHistory {
    /// The newest run of the record, then those that ended before, newest first.
    pub runs: Vec<PastRun>,
    /// How many earlier runs are not kept.
    pub not_kept: u64,
}

/// A run as it is stored: in a record, or as `build_ended_run_json` of history.lua writes it.
#[derive(Debug, Clone, Deserialize)]
struct StoredRun {
    run_id: String,
    status: StageState,
    attempt: u32,
    /// When it was queued.
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// Its attempts that were lost.
    attempts: Vec<AttemptTimes>,
    error: Option<String>,
    /// The stages that its request names or that the step of its pipeline follows.
    needs: Vec<NodeName>,
    /// The stages that it took from, where its sources are not known.
    took: Vec<NodeName>,
    /// The stages that its result took from, each with the result that it had then.
    sources: Vec<(NodeName, String)>,
    input: Option<Object>,
    output: Option<Object>,
    input_left_out: bool,
    output_left_out: bool,
}

impl StoredRun {
    /// Completes what the record says of this run by what was kept of it before the record held another one.
    fn complete(&mut self, kept: Self) {
        self.created_at = kept.created_at;
        self.attempts = kept.attempts;
        self.needs = kept.needs;
        self.took = kept.took;
        self.sources = kept.sources;
    }

    /// Takes input and output from what the record still has of this run.
    fn take_values(&mut self, recorded: Self) {
        (self.input, self.output) = (recorded.input, recorded.output);
        (self.input_left_out, self.output_left_out) = (false, false);
    }

    /// Adds the newest attempt to those that were lost.
    fn add_newest_attempt(&mut self) {
        let error = self.error.as_ref();
        let error: Option<String> = error.map(|error| error.chars().take(ATTEMPT_ERROR).collect());
        if let Some(started_at) = self.started_at {
            self.attempts.push(AttemptTimes {
                attempt: self.attempt.max(1),
                started_at,
                ended_at: self.ended_at,
                error,
            });
            return;
        }
        let has_worked = matches!(self.status, StageState::Success | StageState::Failed);
        let last = self.attempts.last_mut();
        // It was given up as lost, and reported its end before it was taken again.
        if let Some(last) = last.filter(|last| has_worked && last.attempt == self.attempt) {
            last.ended_at = self.ended_at;
            last.error = error;
            self.started_at = Some(last.started_at);
        }
    }

    /// Shows the run. `standing` is the run whose result stands.
    fn show(mut self, standing: Option<&str>) -> PastRun {
        self.add_newest_attempt();
        let created_at = self
            .created_at
            .filter(|time| self.started_at.is_none_or(|began| *time <= began));
        let created_at = created_at.or(self.started_at).or(self.ended_at);
        PastRun {
            status: self.status,
            created_at: created_at.unwrap_or(Timestamp::from_millis(0)),
            started_at: self.started_at,
            ended_at: self.ended_at,
            attempts: self.attempts,
            input: self.input,
            output: self.output,
            error: self.error,
            input_left_out: self.input_left_out,
            output_left_out: self.output_left_out,
            standing: standing == Some(self.run_id.as_str()),
            needs: join_needs([self.needs, self.took, taken_from(self.sources)]),
            run_id: self.run_id,
        }
    }
}

/// The stages of sources that had a result.
fn taken_from(sources: Vec<(NodeName, String)>) -> Vec<NodeName> {
    let had_result = sources.into_iter().filter(|(_, result)| !result.is_empty());
    had_result.map(|(node, _)| node).collect()
}

/// The first stages of a list, as many as are recorded.
pub(super) fn limit_needs(nodes: &[NodeName]) -> &[NodeName] {
    if nodes.len() > MOST_NEEDS {
        Limit::Needs.reached();
    }
    &nodes[..nodes.len().min(MOST_NEEDS)]
}

/// Joins lists of stages: each stage once, and no more than [`MOST_NEEDS`].
fn join_needs(lists: [Vec<NodeName>; 3]) -> Vec<NodeName> {
    let mut needs: Vec<NodeName> = Vec::new();
    for node in lists.into_iter().flatten() {
        if needs.contains(&node) {
            continue;
        }
        if needs.len() == MOST_NEEDS {
            Limit::Needs.reached();
            break;
        }
        needs.push(node);
    }
    needs
}

impl StageRecord {
    /// The stages of the task that the newest run took from or had to follow.
    pub fn needs(&self) -> Vec<NodeName> {
        let sources = taken_from(self.newest_sources());
        join_needs([self.nodes_in("needs"), self.nodes_in("took"), sources])
    }

    /// A field that is a JSON array of names.
    fn nodes_in(&self, field: &str) -> Vec<NodeName> {
        let nodes = self.text(field).and_then(|json| serde_json::from_str(json).ok());
        nodes.unwrap_or_default()
    }

    /// The sources of the result that stands.
    fn result_sources(&self) -> Vec<(NodeName, String)> {
        let sources = self.text("res_in_sources");
        let sources = sources.and_then(|json| serde_json::from_str(json).ok());
        sources.unwrap_or_default()
    }

    /// The sources of the newest run's result; none of a run without one.
    fn newest_sources(&self) -> Vec<(NodeName, String)> {
        match self.state {
            StageState::Success => self.result_sources(),
            _ => Vec::new(),
        }
    }

    fn object_in(&self, fields: &[&str]) -> Option<Object> {
        let json = fields.iter().find_map(|field| self.text(field))?;
        serde_json::from_str(json).ok()
    }

    /// The newest run; none of a stage that another worker ran.
    fn newest_run(&self) -> Option<StoredRun> {
        let attempts = self.text("attempts").unwrap_or_default();
        let succeeded = self.state == StageState::Success;
        Some(StoredRun {
            run_id: self.text("run")?.to_owned(),
            status: self.state,
            attempt: self.attempt(),
            created_at: self.time("queued"),
            started_at: self.started(),
            ended_at: self.ended(),
            attempts: serde_json::from_str(&format!("[{attempts}]")).unwrap_or_default(),
            error: self.error(),
            needs: self.nodes_in("needs"),
            took: self.nodes_in("took"),
            sources: self.newest_sources(),
            input: self.object_in(&["input_pub", "input"]),
            output: succeeded.then(|| self.object_in(&["res_output"])).flatten(),
            input_left_out: false,
            output_left_out: false,
        })
    }

    /// The run whose result stands while another one is in flight, as far as the record still has it.
    fn replaced_run(&self) -> Option<StoredRun> {
        let run = self.standing_run().filter(|_| self.state.in_flight())?;
        Some(StoredRun {
            run_id: run.to_owned(),
            status: StageState::Success,
            attempt: self.number("res_attempt"),
            created_at: None,
            started_at: self.time("res_started"),
            ended_at: self.time("res_ended"),
            attempts: Vec::new(),
            error: None,
            needs: self.nodes_in("res_needs"),
            took: Vec::new(),
            sources: self.result_sources(),
            input: self.object_in(&["res_input_pub", "res_input"]),
            output: self.object_in(&["res_output"]),
            input_left_out: false,
            output_left_out: false,
        })
    }

    /// The run whose result stands.
    fn standing_run(&self) -> Option<&str> {
        self.standing_output()?;
        self.text("res_run")
    }
}

/// Puts the runs of a stage in order: at most `most` that have ended, and in any case the newest and the one whose
/// result stands. `kept` has the newest last.
fn order_runs(record: &StageRecord, mut kept: Vec<StoredRun>, most: usize) -> Vec<PastRun> {
    let mut newest = record.newest_run();
    if let Some(run) = &mut newest
        && let Some(position) = kept.iter().position(|earlier| earlier.run_id == run.run_id)
    {
        run.complete(kept.remove(position));
    }
    if let Some(replaced) = record.replaced_run() {
        match kept.iter_mut().find(|run| run.run_id == replaced.run_id) {
            Some(run) => run.take_values(replaced),
            None => kept.push(replaced),
        }
    }
    kept.reverse();
    kept.sort_by_key(|run| Reverse(run.ended_at));
    let standing = record.standing_run();
    let newest_has_ended = newest.as_ref().is_some_and(|run| !run.status.in_flight());
    let room = most.saturating_sub(usize::from(newest_has_ended));
    let earlier = kept
        .into_iter()
        .enumerate()
        .filter(|(position, run)| *position < room || standing == Some(run.run_id.as_str()))
        .map(|(_, run)| run);
    newest
        .into_iter()
        .chain(earlier)
        .map(|run| run.show(standing))
        .collect()
}

/// Parses what is kept of earlier runs. What cannot be read is left out.
fn parse_kept_runs(entries: &[String], task: &TaskId, node: &NodeName) -> Vec<StoredRun> {
    let parse = |json: &String| {
        let run = serde_json::from_str(json);
        run.inspect_err(
            |error| tracing::warn!(%error, task_id = %task, task_name = %node, "an earlier run cannot be read"),
        )
        .ok()
    };
    entries.iter().filter_map(parse).collect()
}

impl Store {
    /// Reads the runs of a stage whose record was read just now: one that the record does not hold any more is kept
    /// by then.
    pub async fn read_runs(
        &self,
        task: &TaskId,
        node: &NodeName,
        record: &StageRecord,
    ) -> Result<StageHistory, StoreError> {
        let mut redis = self.redis.clone();
        let key = format!("onceover:history:{task}:{node}");
        let entries: Vec<String> = match self.limited(redis.lrange(key.as_str(), 0, -1)).await {
            // It holds something else, which no run has written.
            Err(StoreError::Unexpected(_)) => Vec::new(),
            entries => entries?,
        };
        let kept = parse_kept_runs(&entries, task, node);
        let most = usize::try_from(self.options.keep_runs).unwrap_or(usize::MAX);
        let runs = order_runs(record, kept, most);
        let not_kept = record.number::<u64>("runs").saturating_sub(runs.len() as u64);
        if not_kept > 0 {
            Limit::RunsPerStage.reached();
        }
        if runs.iter().any(|run| run.input_left_out || run.output_left_out) {
            Limit::HistoryBytes.reached();
        }
        Ok(StageHistory { runs, not_kept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Fields;

    fn record(fields: &[(&str, &str)]) -> StageRecord {
        let mut all = Fields::default();
        for (field, value) in fields {
            all.push(field, (*value).to_owned());
        }
        StageRecord::from_fields(all)
    }

    fn kept(run: &str, ended: i64) -> StoredRun {
        let ended = Timestamp::from_millis(ended);
        let json = format!(
            r#"{{"run_id":"{run}","status":"FAILED","attempt":2,"created_at":"{ended}","started_at":"{ended}",
            "ended_at":"{ended}","attempts":[{{"attempt":1,"started_at":"{ended}","ended_at":"{ended}","error":"lost"}}],
            "error":"no","needs":["a.one"],"took":[],"sources":[],"input":{{}},"output":null,"input_left_out":false,
            "output_left_out":true}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn ids(runs: &[PastRun]) -> Vec<&str> {
        runs.iter().map(|run| run.run_id.as_str()).collect()
    }

    #[test]
    fn the_newest_run_comes_first_and_the_others_by_their_ends() {
        let newest = record(&[("state", "FAILED"), ("run", "e"), ("started", "50"), ("ended", "60")]);
        let list = vec![kept("b", 20), kept("a", 10), kept("c", 30), kept("d", 30)];
        assert_eq!(ids(&order_runs(&newest, list.clone(), 5)), ["e", "d", "c", "b", "a"]);
        assert_eq!(ids(&order_runs(&newest, list.clone(), 3)), ["e", "d", "c"]);
        assert_eq!(ids(&order_runs(&newest, list.clone(), 0)), ["e"]);
        let in_flight = record(&[("state", "PENDING"), ("run", "e")]);
        assert_eq!(ids(&order_runs(&in_flight, list, 3)), ["e", "d", "c", "b"]);
    }

    #[test]
    fn the_run_whose_result_stands_is_shown_however_many_others_there_were() {
        let forced = record(&[
            ("state", "RUNNING"),
            ("run", "z"),
            ("attempt", "1"),
            ("started", "90"),
            ("restore", "1"),
            ("res_run", "a"),
            ("res_attempt", "1"),
            ("res_started", "5"),
            ("res_ended", "10"),
            ("res_output", r#"{"ok":1}"#),
            ("res_input", r#"{"text":"then"}"#),
        ]);
        for list in [
            vec![kept("b", 20), kept("c", 30)],
            vec![kept("a", 10), kept("b", 20), kept("c", 30)],
        ] {
            let runs = order_runs(&forced, list, 1);
            assert_eq!(ids(&runs), ["z", "c", "a"]);
            let standing: Vec<_> = runs.iter().map(|run| run.standing).collect();
            assert_eq!(standing, [false, false, true]);
        }
        let runs = order_runs(&forced, Vec::new(), 0);
        assert_eq!(runs[1].input.as_ref().unwrap()["text"], "then");
        assert_eq!(runs[1].output.as_ref().unwrap()["ok"], 1);
        assert_eq!(runs[1].created_at, Timestamp::from_millis(5));
    }

    #[test]
    fn a_run_that_stands_again_has_the_attempts_that_were_kept_of_it() {
        let restored = record(&[
            ("state", "SUCCESS"),
            ("run", "a"),
            ("attempt", "2"),
            ("queued", "80"),
            ("started", "10"),
            ("ended", "10"),
            ("res_run", "a"),
            ("res_output", r#"{"ok":1,"file_url":"added later"}"#),
        ]);
        let runs = order_runs(&restored, vec![kept("a", 10), kept("z", 90)], 5);
        assert_eq!(ids(&runs), ["a", "z"]);
        let attempts: Vec<_> = runs[0].attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!(attempts, [1, 2]);
        assert_eq!(runs[0].created_at, Timestamp::from_millis(10));
        assert!(runs[0].standing && !runs[0].output_left_out);
        assert_eq!(runs[0].output.as_ref().unwrap()["file_url"], "added later");
    }

    #[test]
    fn an_attempt_that_reported_its_end_after_it_was_given_up_is_one_attempt() {
        let late = record(&[
            ("state", "SUCCESS"),
            ("run", "a"),
            ("attempt", "1"),
            ("ended", "40"),
            ("res_output", "{}"),
            (
                "attempts",
                r#"{"attempt":1,"started_at":"1970-01-01T00:00:00.010Z","ended_at":"1970-01-01T00:00:00.030Z","error":"lost"}"#,
            ),
        ]);
        let runs = order_runs(&late, Vec::new(), 5);
        let expected = AttemptTimes {
            attempt: 1,
            started_at: Timestamp::from_millis(10),
            ended_at: Some(Timestamp::from_millis(40)),
            error: None,
        };
        assert_eq!(runs[0].attempts, [expected]);
        assert_eq!(runs[0].started_at, Some(Timestamp::from_millis(10)));
    }

    #[test]
    fn what_a_stage_needs_is_named_once_and_no_more_than_the_limit() {
        let of_result = record(&[
            ("state", "SUCCESS"),
            ("needs", r#"["a.one","a.two"]"#),
            (
                "res_in_sources",
                r#"[["a.two","r/1/5"],["a.three","r/1/6"],["a.empty",""]]"#,
            ),
        ]);
        let names: Vec<_> = of_result.needs().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.one", "a.two", "a.three"]);
        let of_failure = record(&[
            ("state", "FAILED"),
            ("took", r#"["a.one"]"#),
            ("res_in_sources", r#"[["b.c","r"]]"#),
        ]);
        assert_eq!(
            of_failure.needs().len(),
            1,
            "the sources of an earlier result are none of this run"
        );
        let many: Vec<_> = (0..=MOST_NEEDS).map(|number| format!("a.n{number}")).collect();
        let many = serde_json::to_string(&many).unwrap();
        let before = Limit::Needs.times_reached();
        assert_eq!(
            record(&[("state", "PENDING"), ("needs", many.as_str())]).needs().len(),
            MOST_NEEDS
        );
        assert!(Limit::Needs.times_reached() > before);
    }

    #[test]
    fn what_is_no_run_is_left_out_of_the_list() {
        let (task, node) = (TaskId::parse("t1").unwrap(), NodeName::parse("a.one").unwrap());
        let entries = ["{}".to_owned(), "no JSON".to_owned()];
        assert!(parse_kept_runs(&entries, &task, &node).is_empty());
    }
}
