//! How a task is read: the same as a script finds it, whatever the task holds, at the cost of the task and not of the
//! catalog.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use onceover_types::{NodeName, StageState, TaskId, Timestamp};
use redis::Value;

use super::{
    super::{
        Adoption, Collectable, DiskUsage, ForeignNote, KeySubscription, ReuseRule, Store, StoreError, TaskRecords,
        args::PreparedCall, scripts,
    },
    Bed,
    life::{NODES, Wish, claim, submit, success},
};

/// How long something that is to come about is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node of no catalog.
const CUSTOM: &str = "x.custom";

fn task(name: &str) -> TaskId {
    TaskId::parse(name).unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::parse(name).unwrap()
}

/// Runs a stage of ours to its end.
async fn run_stage(bed: &Bed, task: &TaskId, node: &NodeName) {
    start_stage(bed, task, node).await;
    let fence = claim(bed).await;
    let outcome = success(r#"{"ok":1}"#, false);
    let finished = bed
        .store
        .finish(&fence, &outcome, &DiskUsage::default(), None)
        .await
        .unwrap();
    assert!(finished.counts);
}

async fn start_stage(bed: &Bed, task: &TaskId, node: &NodeName) {
    let wish = Wish {
        task,
        node,
        queue: "io",
        mode: ReuseRule::Auto,
        input: "{}",
        url: None,
    };
    submit(bed, wish).await;
}

fn foreign_json(node: &str, status: &str) -> String {
    format!(r#"{{"stages":{{"{node}":{{"status":"{status}","output":{{"a":1}}}}}}}}"#)
}

async fn write(bed: &Bed, key: &str, value: &str) {
    let _: () = bed.ask(&["SET", key, value]).await;
}

/// Notes what another worker has in flight under a node.
async fn note(bed: &Bed, task: &TaskId, node: &NodeName, queue: &str) {
    let (foreign, _) = bed.store.look(task, node, &[]).await.unwrap().expect("it is there");
    let now = Timestamp::now().as_millis();
    let note = ForeignNote {
        task,
        node,
        foreign: &foreign,
        queue,
        state: StageState::Running,
        written_ms: now,
        lost_ms: now + 60_000,
        created_ms: now,
        progress: None,
        duration_ms: 0,
    };
    assert!(bed.store.note(&note).await.unwrap());
}

/// Adopts what another worker has finished under a node.
async fn adopt(bed: &Bed, task: &TaskId, node: &NodeName, queue: &str) {
    let (foreign, _) = bed.store.look(task, node, &[]).await.unwrap().expect("it is there");
    let now = Timestamp::now().as_millis();
    let adoption = Adoption {
        task,
        node,
        foreign: &foreign,
        queue,
        state: StageState::Success,
        input: "{}",
        input_public: "{}",
        output: r#"{"a":1}"#,
        reusable: true,
        warned: onceover_wire::WarningCount::default(),
        error: None,
        duration_ms: 5,
        ended_ms: now,
        created_ms: now,
        path: "/share",
    };
    assert!(bed.store.adopt(&adoption).await.unwrap());
}

/// All that records say, as text; times to live and the order of what has none are left out.
fn text_of(records: &TaskRecords) -> String {
    if records.is_empty() {
        return "nothing".to_owned();
    }
    let mut records = records.clone();
    records.stale.sort();
    for (_, json) in &mut records.foreign {
        json.ttl_ms = json.ttl_ms.signum();
    }
    format!("{records:#?}")
}

/// What a script finds, which reads everything in one step.
async fn read_by_script(bed: &Bed, task: &TaskId) -> String {
    match bed.store.collectable(task, &[]).await.unwrap() {
        Collectable::Known(records) => text_of(&records),
        Collectable::Free => "nothing".to_owned(),
        other => panic!("{other:?}"),
    }
}

/// Fails unless a read finds what a script finds, and a view does so soon, also when it is read again. Returns the
/// records.
async fn agree(bed: &Bed, task: &TaskId, what: &str) -> TaskRecords {
    let expected = read_by_script(bed, task).await;
    let (records, _) = bed.store.read(task).await.unwrap();
    assert_eq!(text_of(&records), expected, "{what}");
    for _ in 0..2 {
        until_viewed(bed, task, &expected, what).await;
    }
    records
}

async fn until_viewed(bed: &Bed, task: &TaskId, expected: &str, what: &str) {
    let begun = Instant::now();
    loop {
        let (records, _) = bed.store.read_for_view(task).await.unwrap();
        let viewed = text_of(&records);
        if viewed == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {viewed}\nis not {expected}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Subscribes to keys of a server that reports them, and waits until that is known.
async fn subscribe(bed: &Bed, store: &Store) -> KeySubscription {
    let _: () = bed.ask(&["CONFIG", "SET", "notify-keyspace-events", "E$gx"]).await;
    let subscription = store.subscribe_to_keys().unwrap();
    let begun = Instant::now();
    while !store.tasks.is_reported() {
        assert!(begun.elapsed() < PATIENCE, "no key was reported");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    subscription
}

/// Stages of ours, in flight and ended.
async fn read_own_stages(bed: &Bed) {
    let task = task("own");
    assert!(agree(bed, &task, "an unknown task").await.is_empty());
    assert_eq!(bed.store.tasks.bytes(), 0, "nothing is kept of it");
    start_stage(bed, &task, &node(NODES[0])).await;
    assert_eq!(agree(bed, &task, "a stage that waits").await.stages.len(), 1);
    claim(bed).await;
    agree(bed, &task, "a stage that runs").await;
    bed.store.cancel(&task, None).await.unwrap();
    agree(bed, &task, "a stage that was cancelled").await;
    run_stage(bed, &task, &node(NODES[2])).await;
    run_stage(bed, &task, &node(NODES[1])).await;
    let records = agree(bed, &task, "three stages").await;
    let names: Vec<_> = records.stages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [NODES[0], NODES[2], NODES[1]]);
}

/// Results of other workers beside ours and in their place, in both spellings.
async fn read_foreign_stages(bed: &Bed) {
    let task = task("foreign");
    run_stage(bed, &task, &node(NODES[0])).await;
    agree(bed, &task, "one stage").await;
    write(bed, "foreign:a:one", &foreign_json(NODES[0], "SUCCESS")).await;
    assert_eq!(agree(bed, &task, "the older spelling of ours").await.foreign.len(), 1);
    write(bed, "foreign:node:a.one", &foreign_json(NODES[0], "RUNNING")).await;
    assert_eq!(agree(bed, &task, "both spellings of ours").await.foreign.len(), 2);
    write(bed, "foreign:a:two", &foreign_json(NODES[1], "RUNNING")).await;
    write(bed, "foreign:node:a.two", &foreign_json(NODES[1], "FAILED")).await;
    assert_eq!(agree(bed, &task, "another stage").await.foreign.len(), 4);
    let _: () = bed
        .ask(&["SET", "foreign:a:two", &foreign_json(NODES[1], "RUNNING"), "EX", "100"])
        .await;
    agree(bed, &task, "one that expires").await;
    let _: u64 = bed.ask(&["DEL", "foreign:node:a.two", "foreign:node:a.one"]).await;
    assert_eq!(agree(bed, &task, "two that were removed").await.foreign.len(), 2);
    run_stage(bed, &task, &node(NODES[2])).await;
    let _: u64 = bed.ask(&["DEL", "foreign:node:a.three"]).await;
    agree(bed, &task, "our public JSON was removed").await;
}

/// What is noted, adopted and removed, of nodes of the catalog and of none.
async fn read_noted_and_adopted_stages(bed: &Bed) {
    for (name, key, queue) in [
        (NODES[1], "noted:node:a.two", "io"),
        (NODES[2], "noted:a:three", "io"),
        (CUSTOM, "noted:node:x.custom", ""),
    ] {
        let (task, node) = (task("noted"), node(name));
        write(bed, key, &foreign_json(name, "RUNNING")).await;
        agree(bed, &task, "not noted").await;
        note(bed, &task, &node, queue).await;
        let records = agree(bed, &task, "noted").await;
        let noted = records.foreign.iter().find(|(found, _)| *found == node);
        assert!(noted.is_some_and(|(_, json)| json.noted.is_some()), "{name}");
        assert!(records.order.contains(&node), "{name}");
        write(bed, key, &foreign_json(name, "SUCCESS")).await;
        assert_eq!(
            agree(bed, &task, "not as it was noted").await.stale,
            std::slice::from_ref(&node)
        );
        adopt(bed, &task, &node, queue).await;
        let records = agree(bed, &task, "adopted").await;
        assert!(records.foreign.is_empty() && records.stage(&node).is_some(), "{name}");
        write(bed, key, &foreign_json(name, "FAILED")).await;
        assert_eq!(agree(bed, &task, "written after that").await.foreign.len(), 1);
        adopt(bed, &task, &node, queue).await;
        agree(bed, &task, "adopted again").await;
    }
    let task = task("noted");
    run_stage(bed, &task, &node(NODES[0])).await;
    agree(bed, &task, "beside one of ours").await;
    let _: u64 = bed.ask(&["DEL", "onceover:stage:noted:a.two"]).await;
    assert_eq!(agree(bed, &task, "news without the record").await.foreign.len(), 1);
}

/// Records that have expired, and keys that hold something else.
async fn read_what_is_missing_or_damaged(bed: &Bed) {
    let task = task("damaged");
    for name in NODES {
        run_stage(bed, &task, &node(name)).await;
    }
    agree(bed, &task, "three stages").await;
    let _: u64 = bed.ask(&["DEL", "onceover:stage:damaged:a.two"]).await;
    assert_eq!(agree(bed, &task, "one has expired").await.stages.len(), 2);
    let listed: u64 = bed.ask(&["ZCARD", "onceover:task:damaged:stages"]).await;
    assert_eq!(listed, 3, "a read writes nothing");
    let _: u64 = bed.ask(&["HSET", "onceover:stage:damaged:a.three", "state", "?"]).await;
    agree(bed, &task, "a state that is none").await;
    write(bed, "onceover:stage:damaged:a.one", "?").await;
    let records = agree(bed, &task, "a record that is none").await;
    let damage = records.stage(&node(NODES[0])).unwrap().damage.clone();
    assert_eq!(damage.as_deref(), Some("it is no hash"));
    let _: u64 = bed.ask(&["LPUSH", "damaged:a:two", "?"]).await;
    agree(bed, &task, "a list in the place of a JSON").await;
    let _: u64 = bed.ask(&["HSET", "onceover:foreign:damaged", "a.two", "?"]).await;
    agree(bed, &task, "a note that is none").await;
    write(bed, "onceover:task:damaged", "?").await;
    agree(bed, &task, "a task that is none").await;
    write(bed, "damaged:node:a.two", &foreign_json(NODES[1], "RUNNING")).await;
    write(bed, "onceover:task:damaged:stages", "?").await;
    agree(bed, &task, "a list of stages that is none").await;
}

async fn read_everything(bed: &Bed) {
    read_own_stages(bed).await;
    read_foreign_stages(bed).await;
    read_noted_and_adopted_stages(bed).await;
    read_what_is_missing_or_damaged(bed).await;
}

#[tokio::test]
async fn a_read_finds_what_a_script_finds_where_redis_reports_keys() {
    let bed = Bed::start(false).await;
    let _subscription = subscribe(&bed, &bed.store).await;
    read_everything(&bed).await;
}

#[tokio::test]
async fn a_read_finds_what_a_script_finds_where_redis_reports_nothing() {
    let bed = Bed::start(false).await;
    read_everything(&bed).await;
}

#[tokio::test]
async fn what_has_expired_leaves_the_lists_as_the_status_of_its_task_is_derived() {
    let bed = Bed::start(false).await;
    let task = task("t");
    run_stage(&bed, &task, &node(NODES[0])).await;
    run_stage(&bed, &task, &node(NODES[1])).await;
    let _: u64 = bed.ask(&["DEL", "onceover:stage:t:a.two", "t:node:a.two"]).await;
    let (records, _) = bed.store.read_for_view(&task).await.unwrap();
    assert_eq!(records.stages.len(), 1);
    run_stage(&bed, &task, &node(NODES[2])).await;
    let listed: Vec<String> = bed.ask(&["ZRANGE", "onceover:task:t:stages", "0", "-1"]).await;
    assert_eq!(listed, [NODES[0], NODES[2]]);
    let indexed: u64 = bed.ask(&["ZCARD", "onceover:tasks:node:a.two"]).await;
    assert_eq!(indexed, 0);
}

/// Calls of each command so far.
async fn count_calls(bed: &Bed) -> BTreeMap<String, u64> {
    let info: String = bed.ask(&["INFO", "commandstats"]).await;
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    let calls = lines.filter_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let calls = rest.strip_prefix("calls=")?.split(',').next()?;
        Some((name.to_owned(), calls.parse().ok()?))
    });
    calls.filter(|(name, _)| name != "info").collect()
}

/// The calls of each command that were made since.
async fn count_calls_since(bed: &Bed, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let after = count_calls(bed).await.into_iter();
    let made = after.map(|(name, calls)| {
        let already = before.get(&name).copied().unwrap_or_default();
        (name, calls - already)
    });
    made.filter(|(_, calls)| *calls > 0).collect()
}

#[tokio::test]
async fn a_remembered_view_costs_a_few_commands_whatever_the_catalog_has() {
    let bed = Bed::start(false).await;
    let task = task("t");
    for name in NODES {
        run_stage(&bed, &task, &node(name)).await;
    }
    let mut costs = Vec::new();
    for count in [26, 260] {
        let names = (NODES.len()..count).map(|number| node(&format!("more.node_{number}")));
        let names = NODES.iter().map(|name| node(name)).chain(names);
        let store = Store::open(bed.store.options().clone(), names, Arc::new(())).unwrap();
        let _subscription = subscribe(&bed, &store).await;
        store.read_for_view(&task).await.unwrap();
        let before = count_calls(&bed).await;
        for _ in 0..100 {
            let (records, _) = store.read_for_view(&task).await.unwrap();
            assert_eq!(records.stages.len(), 3);
        }
        costs.push(count_calls_since(&bed, &before).await);
    }
    let expected = [
        ("exec", 100_u64),
        ("get", 100),
        ("hget", 100),
        ("hgetall", 500),
        ("multi", 100),
        ("zrange", 100),
    ];
    let expected = expected.map(|(name, calls)| (name.to_owned(), calls));
    assert_eq!(costs, [BTreeMap::from(expected.clone()), BTreeMap::from(expected)]);
}

/// Calls a script that answers something, and reads the task with it.
async fn call_and_read(bed: &Bed, task: &TaskId) -> TaskRecords {
    let call = PreparedCall {
        script: &scripts::TOTALS,
        args: bed.store.args(),
    };
    let (answer, records): (Value, _) = bed.store.call_and_read(call, task).await.unwrap();
    assert_ne!(answer, Value::Nil);
    records
}

#[tokio::test]
async fn a_call_with_a_read_is_one_transaction_and_loads_its_script_where_it_is_unknown() {
    let bed = Bed::start(false).await;
    let _subscription = subscribe(&bed, &bed.store).await;
    let task = task("t");
    run_stage(&bed, &task, &node(NODES[0])).await;
    let transactions =
        async |before: BTreeMap<String, u64>| count_calls_since(&bed, &before).await.get("exec").copied();

    let before = count_calls(&bed).await;
    assert_eq!(call_and_read(&bed, &task).await.stages.len(), 1);
    assert_eq!(transactions(before).await, Some(2), "the task is not remembered");
    let before = count_calls(&bed).await;
    assert_eq!(call_and_read(&bed, &task).await.stages.len(), 1);
    assert_eq!(transactions(before).await, Some(1));
    let _: () = bed.ask(&["SCRIPT", "FLUSH"]).await;
    let before = count_calls(&bed).await;
    assert_eq!(call_and_read(&bed, &task).await.stages.len(), 1);
    assert_eq!(transactions(before).await, Some(2), "the script was loaded in between");
    run_stage(&bed, &task, &node(NODES[1])).await;
    assert_eq!(call_and_read(&bed, &task).await.stages.len(), 2);
}

#[tokio::test]
async fn a_task_has_other_stages_as_soon_as_anything_of_another_node_is_there() {
    let bed = Bed::start(false).await;
    let (own, other) = (node(NODES[0]), node(NODES[1]));
    let has_others = async |name: &str| bed.store.has_other_stages(&task(name), &own).await.unwrap();
    assert!(has_others("none").await, "a task without the stage is read whole");
    for name in ["alone", "ours", "today", "older", "noted", "broken"] {
        run_stage(&bed, &task(name), &own).await;
        assert!(!has_others(name).await, "{name}");
    }
    write(&bed, "alone:a:one", "of the same node").await;
    assert!(!has_others("alone").await);
    start_stage(&bed, &task("ours"), &other).await;
    write(&bed, &format!("today:node:{other}"), &foreign_json(NODES[1], "SUCCESS")).await;
    write(&bed, "older:a:two", &foreign_json(NODES[1], "SUCCESS")).await;
    let _: () = bed
        .ask(&["HSET", "onceover:foreign:noted", CUSTOM, "RUNNING|1|ab|1||0"])
        .await;
    let _: () = bed.ask(&["DEL", "onceover:task:broken:stages"]).await;
    write(&bed, "onceover:task:broken:stages", "no list").await;
    for name in ["ours", "today", "older", "noted", "broken"] {
        assert!(has_others(name).await, "{name}");
    }
}

#[tokio::test]
async fn a_full_redis_is_read() {
    let bed = Bed::start(false).await;
    let task = task("t");
    run_stage(&bed, &task, &node(NODES[0])).await;
    write(&bed, "t:a:two", &foreign_json(NODES[1], "SUCCESS")).await;
    let expected = text_of(&agree(&bed, &task, "before").await);
    let _: () = bed.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for _ in 0..2 {
        let (records, _) = bed.store.read(&task).await.unwrap();
        assert_eq!(text_of(&records), expected);
        let (records, _) = bed.store.read_for_view(&task).await.unwrap();
        assert_eq!(text_of(&records), expected);
    }
    assert_eq!(call_and_read(&bed, &task).await.stages.len(), 1);
    let refused: Result<(), StoreError> = bed.store.ask(&["SET", "more", "text"]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "it is full");
}

#[tokio::test]
async fn a_read_never_names_an_event_that_is_newer_than_what_it_shows() {
    let bed = Bed::start(false).await;
    let task = task("t");
    run_stage(&bed, &task, &node(NODES[0])).await;
    let written = async {
        for _ in 0..300 {
            // Each is a hit, which changes the record and publishes an event in one step.
            start_stage(&bed, &task, &node(NODES[0])).await;
        }
    };
    let read = async {
        let mut hits_by_sequence = BTreeMap::new();
        for _ in 0..300 {
            let (records, sequence) = bed.store.read_for_view(&task).await.unwrap();
            let hits = records.stages[0].1.summary().reuse_hits;
            hits_by_sequence.insert(sequence, hits);
        }
        hits_by_sequence
    };
    let ((), hits_by_sequence) = tokio::join!(written, read);
    let differences: Vec<_> = hits_by_sequence
        .iter()
        .map(|(sequence, hits)| sequence - hits)
        .collect();
    assert!(
        differences.windows(2).all(|pair| pair[0] == pair[1]),
        "{hits_by_sequence:?}"
    );
}
