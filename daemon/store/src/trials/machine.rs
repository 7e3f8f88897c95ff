//! The stage machine, as `docs/design/stage-machine.md` has it: each cell of its table is driven against a real Redis.

use std::collections::BTreeMap;

use onceover_types::{NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::WarningCount;
use serde_json::Value;

use super::{
    super::{Adoption, Decision, Deletion, DiskUsage, Fence, ForeignJson, QueueShare, Reap, ReuseRule},
    Bed,
    life::{self, Wish, failure, submit, success},
};

const PAGE: &str = include_str!("../../../../docs/design/stage-machine.md");
const FIRST: &str = "http://host/first";
const SECOND: &str = "http://host/second";
const OUTPUT: &str = r#"{"ok":1}"#;
/// More losses of one run than any cell has.
const MANY: u32 = 5;

const STATES: [&str; 10] = [
    "absent",
    "PENDING",
    "PENDING+",
    "REAPED",
    "RUNNING",
    "RUNNING+",
    "ENDING",
    "SUCCESS",
    "FAILED",
    "CANCELLED",
];
const EVENTS: [&str; 17] = [
    "submit",
    "force",
    "claim",
    "claim again",
    "heartbeat",
    "succeed",
    "fail",
    "stale",
    "cancel",
    "release",
    "reap",
    "reap last",
    "hand back",
    "adopt",
    "delete",
    "delete force",
    "expire",
];

/// What the table says of one state and event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    next: String,
    answer: String,
    slot: String,
    published: String,
    callbacks: String,
}

/// The columns of a table's row, without backquotes.
fn columns(line: &str) -> Vec<String> {
    let inside = line.trim_matches('|');
    inside
        .split('|')
        .map(|text| text.replace('`', "").trim().to_owned())
        .collect()
}

/// Reads the page's table of transitions.
fn table() -> BTreeMap<(String, String), Cell> {
    let rows = PAGE
        .lines()
        .skip_while(|line| !line.starts_with("| state | event |"))
        .skip(2);
    let mut cells = BTreeMap::new();
    for line in rows.take_while(|line| line.starts_with('|')) {
        let [states, events, next, answer, slot, published, callbacks] =
            <[String; 7]>::try_from(columns(line)).unwrap_or_else(|row| panic!("{row:?} has other columns"));
        for state in states.split(", ") {
            assert!(STATES.contains(&state), "{state} is no state");
            for event in events.split(", ") {
                assert!(EVENTS.contains(&event), "{event} is no event");
                let cell = Cell {
                    next: if next == "same" { state.to_owned() } else { next.clone() },
                    answer: answer.clone(),
                    slot: slot.clone(),
                    published: published.clone(),
                    callbacks: callbacks.clone(),
                };
                let former = cells.insert((state.to_owned(), event.to_owned()), cell);
                assert!(former.is_none(), "{state} with {event} stands twice");
            }
        }
    }
    cells
}

/// One stage with a queue that no other stage uses.
struct Stage<'a> {
    bed: &'a Bed,
    task: TaskId,
    node: NodeName,
    queue: String,
    owner: String,
}

impl<'a> Stage<'a> {
    fn new(bed: &'a Bed, number: usize) -> Self {
        Self {
            bed,
            task: TaskId::parse(&format!("t{number}")).unwrap(),
            node: NodeName::parse(life::NODES[0]).unwrap(),
            queue: format!("q{number}"),
            owner: format!("owner#{number}"),
        }
    }

    fn key(&self) -> String {
        format!("onceover:stage:{}:{}", self.task, self.node)
    }

    fn public_key(&self) -> String {
        format!("{}:node:{}", self.task, self.node)
    }

    async fn field(&self, name: &str) -> Option<String> {
        self.bed.ask(&["HGET", &self.key(), name]).await
    }

    async fn submit(&self, mode: ReuseRule, url: &str) -> String {
        let wish = Wish {
            task: &self.task,
            node: &self.node,
            queue: &self.queue,
            mode,
            input: "{}",
            url: Some(url),
        };
        match submit(self.bed, wish).await {
            Decision::Started { reason, .. } => format!("run, {reason}"),
            Decision::Joined { .. } => "join".into(),
            Decision::Hit { .. } => "hit".into(),
            _ => "refused".into(),
        }
    }

    /// Takes a run of the queue. `running` are the slots that the owner knows to hold.
    async fn claim(&self, running: Vec<String>) -> &'static str {
        let share = QueueShare { slots: 4, running };
        let claims = self.bed.store.claim(&self.queue, &self.owner, &share, 4).await.unwrap();
        let newest = self.fence().await;
        match claims.runs.as_slice() {
            [] => "nothing",
            [claim] if claim.fence == newest => "the run",
            other => panic!("{} runs, or another one", other.len()),
        }
    }

    /// The fence of the newest attempt.
    async fn fence(&self) -> Fence {
        let run = self.field("run").await;
        let attempt: u32 = self.field("attempt").await.map_or(1, |text| text.parse().unwrap());
        Fence {
            task: self.task.clone(),
            node: self.node.clone(),
            run: run.map_or_else(RunId::generate, |run| RunId::parse(&run).unwrap()),
            attempt: attempt.max(1),
            owner: self.owner.clone(),
            queue: self.queue.clone(),
        }
    }

    async fn finish(&self, fence: &Fence, is_success: bool) -> String {
        let outcome = if is_success {
            success(OUTPUT, false)
        } else {
            failure("no")
        };
        let counts = self
            .bed
            .store
            .finish(fence, &outcome, &DiskUsage::default(), None)
            .await
            .unwrap()
            .counts;
        if counts { "ok" } else { "lost" }.into()
    }

    async fn cancel(&self) -> &'static str {
        match self.bed.store.cancel(&self.task, None).await.unwrap().as_deref() {
            None => "unknown",
            Some([]) => "nothing",
            Some(_) => "cancelled",
        }
    }

    async fn reap(&self, max_lost: u32, whose: Reap<'_>) -> String {
        let mut store = self.bed.store.clone();
        store.options.max_lost = max_lost;
        store.reap(&self.queue, whose).await.unwrap().to_string()
    }

    async fn adopt(&self) -> &'static str {
        let (key, json) = (self.public_key(), r#"{"stages":{},"by":"another worker"}"#);
        let _: () = self.bed.ask(&["SET", &key, json, "EX", "600"]).await;
        let sha = self
            .bed
            .ask(&["EVAL", "return redis.sha1hex(ARGV[1])", "0", json])
            .await;
        let now = Timestamp::now().as_millis();
        let adoption = Adoption {
            task: &self.task,
            node: &self.node,
            foreign: &ForeignJson {
                key,
                sha,
                ttl_ms: 600_000,
                json: json.into(),
                noted: None,
            },
            queue: &self.queue,
            state: StageState::Success,
            input: "{}",
            input_public: "{}",
            output: OUTPUT,
            reusable: true,
            warned: WarningCount::default(),
            error: None,
            duration_ms: 5,
            ended_ms: now,
            created_ms: now,
            path: "/share",
        };
        match self.bed.store.adopt(&adoption).await.unwrap() {
            true => "adopted",
            false => "refused",
        }
    }

    async fn delete(&self, force: bool) -> &'static str {
        match self.bed.store.delete(&self.task, force).await.unwrap() {
            Deletion::InFlight(_) => "in flight",
            Deletion::Removed(removed) if removed.known => "deleted",
            Deletion::Removed(_) => "nothing",
        }
    }

    /// Lets the retention pass of whatever expires.
    async fn expire(&self) {
        let due: Option<f64> = self.bed.ask(&["ZSCORE", "onceover:expiry", self.task.as_str()]).await;
        if due.is_some() {
            let _: u64 = self
                .bed
                .ask(&["ZADD", "onceover:expiry", "1", self.task.as_str()])
                .await;
            let _: u64 = self.bed.ask(&["DEL", &self.key(), &self.public_key()]).await;
        }
        while self.bed.store.expire(std::time::Duration::from_secs(1)).await.unwrap() {}
    }

    /// Brings a stage of which nothing is known into a state.
    async fn bring_to(&self, state: &str) {
        let steps: &[&str] = match state {
            "absent" => &[],
            "PENDING" => &["submit"],
            "REAPED" => &["submit", "claim", "reap"],
            "RUNNING" => &["submit", "claim"],
            "ENDING" => &["submit", "claim", "cancel"],
            "SUCCESS" => &["submit", "claim", "succeed"],
            "PENDING+" => &["submit", "claim", "succeed", "force"],
            "RUNNING+" => &["submit", "claim", "succeed", "force", "claim"],
            "FAILED" => &["submit", "claim", "fail"],
            "CANCELLED" => &["submit", "cancel"],
            other => panic!("{other} is no state"),
        };
        for step in steps {
            self.meet(step, FIRST).await;
        }
    }

    /// Lets an event happen, and returns its answer.
    async fn meet(&self, event: &str, url: &str) -> String {
        let store = &self.bed.store;
        match event {
            "submit" => self.submit(ReuseRule::Auto, url).await,
            "force" => self.submit(ReuseRule::Never, url).await,
            "claim" => self.claim(vec![self.fence().await.slot()]).await.into(),
            "claim again" => self.claim(Vec::new()).await.into(),
            "heartbeat" => {
                let owns = store
                    .heartbeat(&self.fence().await, Some(5.0), Some("half way"))
                    .await
                    .unwrap();
                if owns { "ok" } else { "lost" }.into()
            }
            "succeed" => self.finish(&self.fence().await, true).await,
            "fail" => self.finish(&self.fence().await, false).await,
            "stale" => {
                let superseded = Fence {
                    run: RunId::generate(),
                    ..self.fence().await
                };
                self.finish(&superseded, true).await
            }
            "cancel" => self.cancel().await.into(),
            "release" => {
                store.release(&self.fence().await, &DiskUsage::default()).await.unwrap();
                "-".into()
            }
            "reap" => self.reap(MANY, Reap::Gone(&self.owner)).await,
            "reap last" => self.reap(1, Reap::Gone(&self.owner)).await,
            "hand back" => self.reap(MANY, Reap::HandedBack(&self.owner)).await,
            "adopt" => self.adopt().await.into(),
            "delete" => self.delete(false).await.into(),
            "delete force" => self.delete(true).await.into(),
            "expire" => {
                self.expire().await;
                "-".into()
            }
            other => panic!("{other} is no event"),
        }
    }
}

/// What is there of a stage, in the table's words.
#[derive(Debug, PartialEq)]
struct Seen {
    state: &'static str,
    is_queued: bool,
    has_slot: bool,
    expires: bool,
    deliveries: u64,
    /// Whether the second URL waits for the end of the run.
    second_is_kept: bool,
    /// State and output of the public JSON.
    public: Option<(String, Value)>,
}

impl Stage<'_> {
    async fn see(&self) -> Seen {
        let bed = self.bed;
        let (task, node, queue) = (&self.task, &self.node, &self.queue);
        let held: u64 = bed.ask(&["ZCARD", &format!("onceover:held:{queue}")]).await;
        let member = format!("{task}|{node}");
        let queued: Option<f64> = bed.ask(&["ZSCORE", &format!("onceover:queue:{queue}"), &member]).await;
        let ttl: i64 = bed.ask(&["TTL", &self.key()]).await;
        let waiting = format!("onceover:callbacks:{task}:{node}");
        let public: Option<String> = bed.ask(&["GET", &self.public_key()]).await;
        let public = public.map(|json| serde_json::from_str::<Value>(&json).unwrap());
        Seen {
            state: self.state(held > 0).await,
            is_queued: queued.is_some(),
            has_slot: held > 0,
            expires: ttl > 0,
            deliveries: bed.ask(&["ZCARD", &format!("onceover:task:{task}:deliveries")]).await,
            second_is_kept: bed.ask(&["HEXISTS", &waiting, SECOND]).await,
            public: public.filter(|json| json["by"].is_null()).map(|json| {
                let stage = &json["stages"][node.as_str()];
                (stage["status"].as_str().unwrap().to_owned(), stage["output"].clone())
            }),
        }
    }

    async fn state(&self, has_slot: bool) -> &'static str {
        let restores = self.field("restore").await.as_deref() == Some("1");
        let attempt = self.field("attempt").await;
        match self.field("state").await.as_deref() {
            None => "absent",
            Some("PENDING") if restores => "PENDING+",
            Some("PENDING") if attempt.as_deref() == Some("0") => "PENDING",
            Some("PENDING") => "REAPED",
            Some("RUNNING") if restores => "RUNNING+",
            Some("RUNNING") => "RUNNING",
            Some("CANCELLED") if has_slot => "ENDING",
            Some("CANCELLED") => "CANCELLED",
            Some("SUCCESS") => "SUCCESS",
            Some("FAILED") => "FAILED",
            Some(other) => panic!("{other} is no state"),
        }
    }
}

/// Fails where what the page says of every state does not hold.
fn check_state(seen: &Seen, place: &str) {
    let waits = ["PENDING", "PENDING+", "REAPED"].contains(&seen.state);
    let runs = ["RUNNING", "RUNNING+"].contains(&seen.state);
    assert_eq!(seen.is_queued, waits, "{place}: queue");
    assert_eq!(
        seen.expires,
        !waits && !runs && seen.state != "absent",
        "{place}: expiry"
    );
    let Some((state, output)) = &seen.public else { return };
    let recorded = match seen.state {
        "PENDING+" | "REAPED" => "PENDING",
        "RUNNING+" => "RUNNING",
        "ENDING" => "CANCELLED",
        other => other,
    };
    assert_eq!(state, recorded, "{place}: the public JSON");
    let stands = seen.state == "SUCCESS" || seen.state.ends_with('+');
    let wanted = if stands { OUTPUT } else { "{}" };
    assert_eq!(output.to_string(), wanted, "{place}: the output of the public JSON");
}

/// What became of callbacks, in the table's words.
fn callbacks(before: &Seen, after: &Seen) -> &'static str {
    if after.second_is_kept && !before.second_is_kept {
        return "kept";
    }
    match after.deliveries {
        now if now == before.deliveries && (after.state != "absent" || before.state == "absent") => "-",
        now if now == before.deliveries + 1 => "sent",
        // An expired stage leaves what is still to be delivered.
        now if now == before.deliveries && now > 0 => "-",
        0 => "dropped",
        now => panic!("{now} deliveries after {}", before.deliveries),
    }
}

/// Kinds of the events about a task after a sequence number, in their order.
async fn published(bed: &Bed, task: &TaskId, since: u64) -> String {
    let events = bed
        .store
        .events_after(since, 100)
        .await
        .unwrap()
        .expect("none is missing");
    let events = events.iter().map(|json| serde_json::from_str::<Value>(json).unwrap());
    let of_task = events.filter(|event| event["task_id"] == task.as_str());
    let kinds: Vec<_> = of_task
        .map(|event| event["kind"].as_str().unwrap().to_owned())
        .collect();
    if kinds.is_empty() { "-".into() } else { kinds.join(", ") }
}

#[tokio::test]
async fn every_cell_of_the_stage_machine() {
    let bed = Bed::start(false).await;
    let table = table();
    assert_eq!(
        table.len(),
        STATES.len() * EVENTS.len(),
        "each state meets each event once"
    );
    let mut faults = Vec::new();
    for (number, ((state, event), cell)) in table.iter().enumerate() {
        let place = format!("{state} with {event}");
        let stage = Stage::new(&bed, number);
        stage.bring_to(state).await;
        let before = stage.see().await;
        assert_eq!(before.state, state, "{place}: before");
        check_state(&before, &place);
        let since: Option<u64> = bed.ask(&["GET", "onceover:seq"]).await;
        let answer = stage.meet(event, SECOND).await;
        let after = stage.see().await;
        check_state(&after, &place);
        let found = Cell {
            next: after.state.into(),
            answer,
            slot: if after.has_slot { "held" } else { "-" }.into(),
            published: published(&bed, &stage.task, since.unwrap_or_default()).await,
            callbacks: callbacks(&before, &after).into(),
        };
        if found != *cell {
            faults.push(format!("{place}: {found:?}, but the page has {cell:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
