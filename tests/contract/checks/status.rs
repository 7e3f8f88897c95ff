//! 2.2 `GET /v1/tasks/{task_id}/status` and 2.3 `GET /v1/tasks/{task_id}/result`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{MERGE, PREPARE, merge_input, prepare_input, too_short};
use crate::{
    check::{Check, Played, Stop, check, differs, same},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check("2.2 status has its fields", |world| has_its_fields(world, "status")),
        check("2.2 a finished node is completed", finished),
        check("2.2 a failed node is failed", failed),
        check("2.2 the result is the node's", result_of_success),
        check("2.2 a failed node tells its error", result_of_failure),
        check("2.2 times have a zone", times),
        check("2.2 created_at is set", created_at),
        check("2.2 create_at stays that of the first request", create_at_stays),
        check("2.2 a node that runs is running", running),
        check("2.2 a node that waits is pending", waiting),
        check("2.2 the newest request is addressed", newest),
        check("2.2 task_name addresses another node", other_node),
        check("2.2 every stage of the task is in the answer", every_stage),
        check("2.2 a finished node is not failed by its sibling", sibling_failed),
        check("2.2 a finished node does not wait for its sibling", sibling_runs),
        check("2.2 a secret of the input is masked", secret),
        check("2.2 an unknown task is not found", unknown_status),
        check("2.3 result has its fields", |world| has_its_fields(world, "result")),
        check("2.3 an unknown task has no result", unknown_result),
        check("2.3 a wildcard reads no other task", wildcard),
    ]
}

async fn merged(world: &World, about: &str) -> Result<(String, Value), Stop> {
    let task = world.task(about);
    let status = world.done(&task, MERGE, merge_input()).await?;
    Ok((task, status))
}

/// A task whose first node has succeeded and whose second has not.
async fn half_failed(world: &World) -> Result<String, Stop> {
    let (task, _) = merged(world, "sibling").await?;
    world.done(&task, PREPARE, too_short()).await?;
    Ok(task)
}

async fn has_its_fields(world: Arc<World>, which: &'static str) -> Played {
    let (task, _) = merged(&world, which).await?;
    let answer = world.get(&format!("/v1/tasks/{task}/{which}")).await?;
    same(
        answer,
        json!({"http": 200, "body": {
            "task_id": task, "status": "<one of pending, running, completed, failed>", "message": "<text>",
            "result": {"task_name": MERGE, "status": "SUCCESS", "input_params": "<object>", "output": "<object>",
                "error": null, "duration": "<number>"},
            "minio_files": null, "create_at": "<text>", "updated_at": "<text>", "callback_status": null,
        }}),
    )
}

async fn finished(world: Arc<World>) -> Played {
    let (_, status) = merged(&world, "finished").await?;
    differs(
        status,
        json!({"http": 200, "body": {"status": "pending"}}),
        json!({"http": 200, "body": {"status": "completed"}}),
    )
}

async fn failed(world: Arc<World>) -> Played {
    let status = world.done(&world.task("failed"), PREPARE, too_short()).await?;
    differs(
        status,
        json!({"http": 200, "body": {"status": "pending"}}),
        json!({"http": 200, "body": {"status": "failed", "error": "<text>"}}),
    )
}

async fn result_of_success(world: Arc<World>) -> Played {
    let (_, status) = merged(&world, "result").await?;
    let output = json!({
        "merged_segments": {"<each>": {"start": 0, "end": 2, "duration": 2, "text": "We start now.",
            "speaker": "SPEAKER_00"}},
        "input_summary": {"transcript_segments_count": 1, "speaker_segments_count": 1, "merged_segments_count": 1,
            "data_source": "<text>"},
    });
    same(
        status,
        json!({"body": {"result": {"task_name": MERGE, "status": "SUCCESS", "input_params": merge_input(),
            "output": output, "error": null, "duration": "<number>"}}}),
    )
}

async fn result_of_failure(world: Arc<World>) -> Played {
    let status = world.done(&world.task("failed"), PREPARE, too_short()).await?;
    same(
        status,
        json!({"body": {"result": {"task_name": PREPARE, "status": "FAILED", "input_params": too_short(),
            "output": {}, "error": "<text>", "duration": "<number>"}}}),
    )
}

async fn times(world: Arc<World>) -> Played {
    let (_, status) = merged(&world, "times").await?;
    differs(
        status,
        json!({"body": {"create_at": "<local time>", "updated_at": "<local time>"}}),
        json!({"body": {"create_at": "<time>", "updated_at": "<time>"}}),
    )
}

async fn created_at(world: Arc<World>) -> Played {
    let (_, status) = merged(&world, "created").await?;
    differs(
        status,
        json!({"body": {"created_at": null}}),
        json!({"body": {"created_at": "<time>"}}),
    )
}

async fn create_at_stays(world: Arc<World>) -> Played {
    let (task, first) = merged(&world, "create-at").await?;
    let second = world.done(&task, PREPARE, prepare_input()).await?;
    same(second, json!({"body": {"create_at": first["body"]["create_at"]}}))
}

async fn running(world: Arc<World>) -> Played {
    let held = world.held_run("running").await?;
    let status = world.status(&held.task).await?;
    same(status, json!({"http": 200, "body": {"status": "running"}}))
}

async fn waiting(world: Arc<World>) -> Played {
    let queues = world.get("/v1/queues").await?;
    let queues = queues["body"]["queues"].as_array().cloned().unwrap_or_default();
    let cpu = queues.iter().find(|queue| queue["name"] == "cpu");
    let slots = cpu.and_then(|queue| queue["slots"].as_u64()).unwrap_or_default();
    if !(1..=4).contains(&slots) {
        return Err(Stop::Skipped(format!("all {slots} slots would have to be taken")));
    }
    // Runs begin in the order asked for, so the last has to wait for these.
    let mut held = Vec::new();
    for _ in 0..slots {
        held.push(world.queued_run("slot", json!({})).await?);
    }
    let last = world.queued_run("waiting", json!({})).await?;
    let status = world.status(&last.task).await?;
    drop(held);
    differs(
        status,
        json!({"http": 200, "body": {"status": "running"}}),
        json!({"http": 200, "body": {"status": "pending", "result": {"status": "PENDING"}}}),
    )
}

async fn newest(world: Arc<World>) -> Played {
    let (task, _) = merged(&world, "newest").await?;
    let status = world.done(&task, PREPARE, prepare_input()).await?;
    same(
        status,
        json!({"body": {"result": {"task_name": PREPARE, "status": "SUCCESS"}}}),
    )
}

async fn other_node(world: Arc<World>) -> Played {
    let task = half_failed(&world).await?;
    let status = world.get(&format!("/v1/tasks/{task}/status?task_name={MERGE}")).await?;
    differs(
        status,
        json!({"http": 200, "body": {"result": {"task_name": PREPARE}}}),
        json!({"http": 200, "body": {
            "status": "completed", "error": null, "task_status": "failed",
            "result": {"task_name": MERGE, "status": "SUCCESS", "error": null, "input_params": merge_input()},
        }}),
    )
}

async fn every_stage(world: Arc<World>) -> Played {
    let task = half_failed(&world).await?;
    differs(
        world.status(&task).await?,
        json!({"body": {"stages": "<absent>"}}),
        json!({"body": {"stages": {MERGE: {"status": "SUCCESS", "error": null}, PREPARE: {"status": "FAILED"}}}}),
    )
}

async fn sibling_failed(world: Arc<World>) -> Played {
    let task = half_failed(&world).await?;
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    differs(
        answer,
        json!({"http": 200, "body": {"status": "pending", "result": "<absent>"}}),
        json!({"http": 200, "body": {
            "status": "completed",
            "result": {"task_name": MERGE, "status": "SUCCESS", "error": null, "task_status": "failed"},
        }}),
    )
}

async fn sibling_runs(world: Arc<World>) -> Played {
    let held = world.held_run("beside").await?;
    // Its sibling, which is the newest request and therefore addressed, is done before it.
    world.submit(&held.task, MERGE, merge_input()).await?;
    let done = world
        .status_that(&held.task, |status| status["body"]["result"]["status"] == "SUCCESS")
        .await?;
    let status = json!({"status": done["body"]["status"], "of the task": done["body"]["task_status"]});
    differs(
        status,
        json!({"status": "running", "of the task": null}),
        json!({"status": "completed", "of the task": "running"}),
    )
}

async fn secret(world: Arc<World>) -> Played {
    let mut input = prepare_input();
    input["api_key"] = json!("a-secret");
    let status = world.done(&world.task("secret"), PREPARE, input).await?;
    same(
        status,
        json!({"body": {"result": {"input_params": {"api_key": "***"}}}}),
    )
}

async fn unknown_status(world: Arc<World>) -> Played {
    let status = world.status(&world.task("nobody")).await?;
    differs(
        status,
        json!({"http": 500}),
        json!({"http": 404, "body": {"detail": "<text>"}}),
    )
}

async fn unknown_result(world: Arc<World>) -> Played {
    let answer = world.get(&format!("/v1/tasks/{}/result", world.task("nobody"))).await?;
    differs(
        answer,
        json!({"http": 200, "body": {"status": null}}),
        json!({"http": 404, "body": {"detail": "<text>"}}),
    )
}

async fn wildcard(world: Arc<World>) -> Played {
    let (task, _) = merged(&world, "stranger").await?;
    let answer = world
        .get(&format!("/v1/tasks/{}*/result", &task[..task.len() - 1]))
        .await?;
    differs(
        answer,
        json!({"http": 200, "body": {"result": {"task_name": MERGE}}}),
        json!({"http": 422, "body": {"result": "<absent>", "errors": {"<some>": {"field": "task_id"}}}}),
    )
}
