//! 7 The state in Redis, as scripts read it and workers write it, 8 its words, and 9 what is not in it any more.

use std::sync::Arc;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};

use super::{AUDIO, MERGE, PREPARE, merge_input, prepare_input};
use crate::{
    check::{Check, Played, Stop, check, differs, same},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check("7.1 keys of a task are found by its id", found_by_id),
        check("7.1 a stage has its key", key_of_a_stage),
        check("7.1 a record is kept for a day", kept_for_a_day),
        check("7.1 a stage under the older key is read", older_key_is_read),
        check("7.1 a stage under the older key is a hit", older_key_is_a_hit),
        check(
            "7.1 a stage under the older key is deleted with its task",
            older_key_is_deleted,
        ),
        check(
            "7.1 a stage of a node that is in no catalog is shown",
            unknown_node_is_shown,
        ),
        check("7.2 a record has its fields", record_has_its_fields),
        check("7.2 a record holds its own stage alone", own_stage_alone),
        check("7.2 a stage that runs is RUNNING", running_stage),
        check("7.2 the record of a finished stage is completed", finished_record),
        check("7.2 a secret of the input is masked in the record", secret),
        check("8 another worker's stage in flight is joined", foreign_in_flight),
        check("9 nothing is sent to Celery", nothing_sent),
    ]
}

/// Keys and records of a task, by the pattern that the gateway itself used.
async fn records(redis: &mut MultiplexedConnection, task: &str) -> Result<Vec<(String, Value)>, Stop> {
    let wrong = |error: redis::RedisError| Stop::Broken(format!("Redis: {error}"));
    let mut keys = Vec::new();
    let mut cursor = 0u64;
    loop {
        let (next, found): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{task}:*:*"))
            .arg("COUNT")
            .arg(1000)
            .query_async(redis)
            .await
            .map_err(wrong)?;
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    let mut records = Vec::new();
    for key in keys {
        let text: String = redis.get(&key).await.map_err(wrong)?;
        let record = serde_json::from_str(&text).map_err(|error| Stop::Broken(format!("{key} is no JSON: {error}")))?;
        records.push((key, record));
    }
    Ok(records)
}

/// The one record of a task that has one.
async fn record(world: &World, task: &str) -> Result<(String, Value), Stop> {
    let records = records(&mut world.redis()?, task).await?;
    match <[_; 1]>::try_from(records) {
        Ok([record]) => Ok(record),
        Err(records) => Err(Stop::Broken(format!("task {task} has {} records", records.len()))),
    }
}

async fn merged(world: &World, about: &str) -> Result<String, Stop> {
    world.redis()?;
    let task = world.task(about);
    world.done(&task, MERGE, merge_input()).await?;
    Ok(task)
}

/// Writes a stage as a worker of the gateway does.
async fn write_older(world: &World, task: &str, node: &str, status: &str) -> Result<(), Stop> {
    let (service, method) = node.split_once('.').expect("a node name");
    let output = if status == "SUCCESS" {
        json!({"merged_segments": [{"start": 0.0, "end": 2.0, "text": "Theirs.", "speaker": "SPEAKER_00"}]})
    } else {
        json!({})
    };
    let now = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .datetime()
        .to_string();
    let stage =
        json!({"status": status, "input_params": merge_input(), "output": output, "error": null, "duration": 1.5});
    let record = json!({
        "workflow_id": task, "create_at": now,
        "input_params": {"task_name": node, "input_data": merge_input(), "callback_url": null},
        "shared_storage_path": format!("/share/workflows/{task}"),
        "stages": {node: stage}, "error": null, "status": "pending",
    });
    let key = format!("{task}:{service}:{method}");
    let written: redis::RedisResult<()> = world.redis()?.set_ex(key, record.to_string(), 86400).await;
    written.map_err(|error| Stop::Broken(format!("Redis: {error}")))
}

async fn found_by_id(world: Arc<World>) -> Played {
    let task = merged(&world, "scan").await?;
    world.done(&task, PREPARE, prepare_input()).await?;
    let records = records(&mut world.redis()?, &task).await?;
    same(json!({"records": records.len()}), json!({"records": 2}))
}

async fn key_of_a_stage(world: Arc<World>) -> Played {
    let task = merged(&world, "key").await?;
    let (key, _) = record(&world, &task).await?;
    differs(
        json!({"key": key}),
        json!({"key": format!("{task}:wservice:merge_speaker_segments")}),
        json!({"key": format!("{task}:node:{MERGE}")}),
    )
}

async fn kept_for_a_day(world: Arc<World>) -> Played {
    let task = merged(&world, "ttl").await?;
    let (key, _) = record(&world, &task).await?;
    let ttl: redis::RedisResult<i64> = world.redis()?.ttl(key).await;
    let ttl = ttl.map_err(|error| Stop::Broken(format!("Redis: {error}")))?;
    let is_a_day = (86_000..=86_400).contains(&ttl);
    same(json!({"a day": is_a_day, "seconds": ttl}), json!({"a day": true}))
}

async fn older_key_is_read(world: Arc<World>) -> Played {
    let task = world.task("older");
    write_older(&world, &task, MERGE, "SUCCESS").await?;
    same(
        world.status(&task).await?,
        json!({"http": 200, "body": {"task_id": task, "result": {
            "task_name": MERGE, "status": "SUCCESS", "output": {"merged_segments": {"<each>": {"text": "Theirs."}}},
            "error": null, "duration": 1.5,
        }}}),
    )
}

async fn older_key_is_a_hit(world: Arc<World>) -> Played {
    let task = world.task("older");
    write_older(&world, &task, MERGE, "SUCCESS").await?;
    same(
        world.submit(&task, MERGE, merge_input()).await?,
        json!({"http": 200, "body": {"status": "completed", "reuse_info": {"reuse_hit": true},
            "result": {"output": {"merged_segments": {"<each>": {"text": "Theirs."}}}}}}),
    )
}

async fn older_key_is_deleted(world: Arc<World>) -> Played {
    let task = world.task("older");
    write_older(&world, &task, MERGE, "SUCCESS").await?;
    let answer = world
        .post(&format!("/v1/tasks/{task}/delete"), &json!({"force": true}))
        .await?;
    let left = records(&mut world.redis()?, &task).await?;
    same(
        json!({"answer": answer, "left": left.len()}),
        json!({"answer": {"http": 200, "body": {"status": "success", "results": {"<some>": {"resource": "redis",
            "status": "deleted"}}}}, "left": 0}),
    )
}

async fn unknown_node_is_shown(world: Arc<World>) -> Played {
    let task = merged(&world, "unknown").await?;
    let mut config = redis::cmd("CONFIG");
    let events: redis::RedisResult<(String, String)> = config
        .arg("GET")
        .arg("notify-keyspace-events")
        .query_async(&mut world.redis()?)
        .await;
    if events.is_ok_and(|(_, events)| events.is_empty()) {
        let why = "a node that the daemon does not know is found by keyspace events, which this Redis has off";
        return Err(Stop::Skipped(why.into()));
    }
    let node = "myservice.custom";
    write_older(&world, &task, node, "SUCCESS").await?;
    let status = world
        .status_that(&task, |status| status["body"]["stages"].get(node).is_some())
        .await?;
    same(
        status,
        json!({"body": {"stages": {MERGE: {"status": "SUCCESS"}, node: {"status": "SUCCESS"}}}}),
    )
}

async fn record_has_its_fields(world: Arc<World>) -> Played {
    let task = merged(&world, "record").await?;
    let (_, record) = record(&world, &task).await?;
    same(
        record,
        json!({
            "workflow_id": task, "create_at": "<text>",
            "input_params": {"task_name": MERGE, "input_data": merge_input(), "callback_url": null},
            "shared_storage_path": format!("<ends /share/workflows/{task}>"),
            "stages": {MERGE: {"status": "SUCCESS", "input_params": merge_input(), "output": {"merged_segments": "<list>"},
                "error": null, "duration": "<number>"}},
            "error": null, "status": "<text>", "updated_at": "<text>",
        }),
    )
}

async fn own_stage_alone(world: Arc<World>) -> Played {
    let task = merged(&world, "alone").await?;
    world.done(&task, PREPARE, prepare_input()).await?;
    let records = records(&mut world.redis()?, &task).await?;
    let stages: Vec<_> = records
        .iter()
        .map(|(_, record)| record["stages"].as_object().map(|stages| stages.len()))
        .collect();
    same(json!({"stages": stages}), json!({"stages": [1, 1]}))
}

async fn running_stage(world: Arc<World>) -> Played {
    world.redis()?;
    let held = world.held_run("running").await?;
    let (_, record) = record(&world, &held.task).await?;
    differs(
        record,
        json!({"stages": {AUDIO: {"status": "<one of pending, IN_PROGRESS>"}}}),
        json!({"stages": {AUDIO: {"status": "RUNNING"}}}),
    )
}

async fn finished_record(world: Arc<World>) -> Played {
    let task = merged(&world, "finished").await?;
    let (_, record) = record(&world, &task).await?;
    differs(record, json!({"status": "pending"}), json!({"status": "completed"}))
}

async fn secret(world: Arc<World>) -> Played {
    world.redis()?;
    let task = world.task("secret");
    let mut input = prepare_input();
    input["api_key"] = json!("a-secret");
    world.done(&task, PREPARE, input).await?;
    let (_, record) = record(&world, &task).await?;
    let stage = json!({PREPARE: {"input_params": {"api_key": "***"}}});
    differs(
        record,
        json!({"input_params": {"input_data": {"api_key": "a-secret"}}, "stages": stage}),
        json!({"input_params": {"input_data": {"api_key": "***"}}, "stages": stage}),
    )
}

async fn foreign_in_flight(world: Arc<World>) -> Played {
    let task = world.task("in-progress");
    write_older(&world, &task, MERGE, "IN_PROGRESS").await?;
    differs(
        world.submit(&task, MERGE, merge_input()).await?,
        json!({"http": 200, "body": {"status": "pending", "reuse_info": "<absent>"}}),
        json!({"http": 200, "body": {"status": "pending", "reuse_info": {"reuse_hit": true, "state": "pending"}}}),
    )
}

async fn nothing_sent(world: Arc<World>) -> Played {
    let task = merged(&world, "celery").await?;
    let (_, record) = record(&world, &task).await?;
    differs(
        record,
        json!({"celery_task_id": "<text>"}),
        json!({"celery_task_id": "<absent>"}),
    )
}
