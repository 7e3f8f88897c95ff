//! What must hold after every step, read from Redis itself: records, their public JSON, indexes and events say the same.

use std::collections::BTreeMap;

use onceover_types::Timestamp;
use serde_json::Value;

use super::{
    plan::{LEASE, NODES, TASKS, TTL},
    world::World,
};

/// Milliseconds by which a lease may seem to end early: what Redis counts in whole milliseconds.
const TOLERANCE: i64 = 5;

/// A rule that does not hold, and where.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Violation(pub(super) String);

fn violation<T>(text: impl Into<String>) -> Result<T, Violation> {
    Err(Violation(text.into()))
}

/// A stage as it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenStage {
    state: String,
    run: String,
    attempt: u32,
}

/// Looks at Redis after each step, and compares with what was there before.
#[derive(Debug, Default)]
pub(super) struct Observer {
    stages: BTreeMap<(String, String), SeenStage>,
    /// Until when leases tell nothing, because the clock was set.
    is_lease_unsure_until: Option<Timestamp>,
}

type Record = BTreeMap<String, String>;

impl Observer {
    /// From here on a lease may end early, and does within one lease.
    pub(super) fn excuse_leases(&mut self, world: &World) {
        self.is_lease_unsure_until = Some(world.now().plus(LEASE * 2));
    }

    pub(super) fn check(&mut self, world: &World) -> Result<(), Violation> {
        for task in TASKS {
            for node in NODES {
                self.check_stage(world, task, node)?;
            }
        }
        check_events(world)?;
        match world.state().fault.take() {
            Some(fault) => violation(fault),
            None => Ok(()),
        }
    }

    fn check_stage(&mut self, world: &World, task: &str, node: &str) -> Result<(), Violation> {
        let name = (task.to_owned(), node.to_owned());
        let key = format!("onceover:stage:{task}:{node}");
        let record: Record = world.ask(redis::cmd("HGETALL").arg(&key));
        check_history(world, (task, node), &record)?;
        if record.is_empty() {
            self.stages.remove(&name);
            return Ok(());
        }
        let now = SeenStage::of(&key, &record)?;
        check_public_json(world, task, node, &now)?;
        check_place(world, (task, node), &key, &record, &now)?;
        if let Some(before) = self.stages.get(&name) {
            self.check_step(world, &key, before, &now)?;
        }
        self.stages.insert(name, now);
        Ok(())
    }

    /// What happened to a stage since it was last looked at is a transition that there is.
    fn check_step(&self, world: &World, key: &str, before: &SeenStage, now: &SeenStage) -> Result<(), Violation> {
        if before == now || before.run != now.run {
            return Ok(());
        }
        let is_over = |state: &str| matches!(state, "SUCCESS" | "FAILED" | "CANCELLED");
        if is_over(&before.state) {
            return violation(format!(
                "{key}: run {} had ended {}, and is {now:?}",
                before.run, before.state
            ));
        }
        if now.attempt < before.attempt {
            return violation(format!("{key}: attempt {} became {}", before.attempt, now.attempt));
        }
        if before.state == "RUNNING" && now.state == "PENDING" {
            return self.check_reaping(world, key, before);
        }
        Ok(())
    }

    /// A run is taken back when its owner was not heard of for a lease, was killed, or handed it back.
    fn check_reaping(&self, world: &World, key: &str, before: &SeenStage) -> Result<(), Violation> {
        let now = world.now();
        if self.is_lease_unsure_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        let (heard, is_alive) = {
            let state = world.state();
            let Some(heard) = state.heartbeats.get(&before.run).copied() else {
                return Ok(());
            };
            (heard, state.is_alive(heard.from))
        };
        let silence = now.as_millis() - heard.at.as_millis();
        let lease = i64::try_from(LEASE.as_millis()).expect("a lease is short");
        if is_alive && silence + TOLERANCE < lease {
            return violation(format!(
                "{key}: run {} was taken back from {:?}, which was heard of {silence} ms before",
                before.run, heard.from
            ));
        }
        Ok(())
    }
}

impl SeenStage {
    fn of(key: &str, record: &Record) -> Result<Self, Violation> {
        let field = |name: &str| record.get(name).cloned();
        let (Some(state), Some(run)) = (field("state"), field("run")) else {
            return violation(format!("{key} has no state or no run: {record:?}"));
        };
        let attempt = field("attempt").map_or(Ok(0), |text| text.parse());
        match attempt {
            Ok(attempt) => Ok(Self { state, run, attempt }),
            Err(_) => violation(format!("{key}: attempt is no number: {record:?}")),
        }
    }
}

/// The public JSON says the state of the record.
fn check_public_json(world: &World, task: &str, node: &str, now: &SeenStage) -> Result<(), Violation> {
    let key = format!("{task}:node:{node}");
    let text: Option<String> = world.ask(redis::cmd("GET").arg(&key));
    let Some(text) = text else {
        return violation(format!("{key} is not there, and the record is {now:?}"));
    };
    let status = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|json| Some(json["stages"][node]["status"].as_str()?.to_owned()));
    let expected = if now.state == "CANCELLED" { "FAILED" } else { &now.state };
    match status {
        Some(status) if status == now.state || status == expected => Ok(()),
        other => violation(format!("{key} says {other:?}, and the record is {now:?}")),
    }
}

/// A stage stands in its queue while it waits and in none else, and it expires once it has ended and not before.
fn check_place(
    world: &World,
    (task, node): (&str, &str),
    key: &str,
    record: &Record,
    now: &SeenStage,
) -> Result<(), Violation> {
    let queue = record.get("queue").map_or("", String::as_str);
    let place: Option<f64> = world.ask(
        redis::cmd("ZSCORE")
            .arg(format!("onceover:queue:{queue}"))
            .arg(format!("{task}|{node}")),
    );
    if (now.state == "PENDING") != place.is_some() {
        return violation(format!(
            "{key} is {}, and its place in queue {queue} is {place:?}",
            now.state
        ));
    }
    let ttl: i64 = world.ask(redis::cmd("PTTL").arg(key));
    let is_in_flight = matches!(now.state.as_str(), "PENDING" | "RUNNING");
    let most = i64::try_from(TTL.as_millis()).expect("a TTL is short");
    match ttl {
        -1 if is_in_flight => Ok(()),
        1.. if !is_in_flight && ttl <= most => Ok(()),
        _ => violation(format!("{key} is {} and has a TTL of {ttl} ms", now.state)),
    }
}

/// What is kept of a stage's earlier runs is there with its record alone, and expires as that does.
fn check_history(world: &World, (task, node): (&str, &str), record: &Record) -> Result<(), Violation> {
    let key = format!("onceover:history:{task}:{node}");
    let ttl: i64 = world.ask(redis::cmd("PTTL").arg(&key));
    let state = record.get("state").map_or("absent", String::as_str);
    let is_right = match state {
        "absent" => ttl == -2,
        "PENDING" | "RUNNING" => ttl < 0,
        _ => ttl == -2 || ttl > 0,
    };
    match is_right {
        true => Ok(()),
        false => violation(format!("{key} has a TTL of {ttl} ms, and its stage is {state}")),
    }
}

/// The numbers of events have no holes.
fn check_events(world: &World) -> Result<(), Violation> {
    let last: Option<u64> = world.ask(redis::cmd("GET").arg("onceover:seq"));
    let seen = world.state().last_event();
    match last {
        Some(last) if last != seen => violation(format!("{last} events are counted, and the newest is {seen}")),
        _ => Ok(()),
    }
}
