//! 2.4 delete, 2.5 retry and 2.6 cancel.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use super::{AUDIO, MERGE, PREPARE, merge_input, too_short};
use crate::{
    check::{Check, Played, check, differs, same},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check("2.4 delete reports three resources", delete_reports),
        check("2.4 a deleted task runs as a new one", deleted_runs_as_new),
        check("2.4 a finished task is deleted without force", delete_finished),
        check("2.4 a failed task is deleted", delete_failed),
        check("2.4 what is in flight is not deleted without force", delete_in_flight),
        check("2.4 force deletes what is in flight", delete_by_force),
        check("2.4 an unknown task cannot be deleted", delete_unknown),
        check("2.4 a wildcard deletes no other task", delete_by_wildcard),
        check("2.5 a failed task is retried under its own id", retry_failed),
        check("2.5 a finished task is answered from its result", retry_finished),
        check("2.5 retrying what is in flight joins it", retry_in_flight),
        check("2.5 an unknown task cannot be retried", retry_unknown),
        check("2.6 cancel answers cancelled", cancel),
        check("2.6 a cancelled node is cancelled", cancelled_status),
        check("2.6 a finished task cannot be cancelled", cancel_finished),
        check("2.6 an unknown task cannot be cancelled", cancel_unknown),
    ]
}

async fn delete_reports(world: Arc<World>) -> Played {
    let task = world.task("delete");
    world.done(&task, MERGE, merge_input()).await?;
    let answer = world
        .post(&format!("/v1/tasks/{task}/delete"), &json!({"force": true}))
        .await?;
    let resource = |name: &str, status: &str| json!({"resource": name, "status": status, "message": "<text>", "retriable": "<any>", "details": "<any>"});
    same(
        answer,
        json!({"http": 200, "body": {
            "status": "success",
            "results": [
                resource("local_directory", "<one of deleted, skipped>"),
                resource("redis", "deleted"),
                resource("minio", "<one of deleted, skipped>"),
            ],
            "warnings": {"<each>": "<text>"},
            "timestamp": "<time>",
        }}),
    )
}

async fn deleted_runs_as_new(world: Arc<World>) -> Played {
    let task = world.task("delete");
    world.done(&task, MERGE, merge_input()).await?;
    world
        .post(&format!("/v1/tasks/{task}/delete"), &json!({"force": true}))
        .await?;
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    same(
        answer,
        json!({"http": 200, "body": {"task_id": task, "status": "pending", "result": "<absent>"}}),
    )
}

async fn delete_finished(world: Arc<World>) -> Played {
    let task = world.task("delete");
    world.done(&task, MERGE, merge_input()).await?;
    // Without a body at all, as its default is.
    let answer = world
        .send(world.request(Method::POST, &format!("/v1/tasks/{task}/delete")))
        .await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 200, "body": {"status": "success"}}),
    )
}

async fn delete_failed(world: Arc<World>) -> Played {
    let task = world.task("delete");
    world.done(&task, PREPARE, too_short()).await?;
    let answer = world
        .post(&format!("/v1/tasks/{task}/delete"), &json!({"force": true}))
        .await?;
    differs(
        answer,
        json!({"http": 404}),
        json!({"http": 200, "body": {"status": "success"}}),
    )
}

async fn delete_in_flight(world: Arc<World>) -> Played {
    let held = world.held_run("delete").await?;
    let answer = world
        .post(&format!("/v1/tasks/{}/delete", held.task), &json!({"force": false}))
        .await?;
    same(answer, json!({"http": 400, "body": {"detail": "<text>"}}))
}

async fn delete_by_force(world: Arc<World>) -> Played {
    let held = world.held_run("delete").await?;
    let answer = world
        .post(&format!("/v1/tasks/{}/delete", held.task), &json!({"force": true}))
        .await?;
    same(
        answer,
        json!({"http": 200, "body": {"status": "success", "results": {"<some>": {"status": "deleted"}}}}),
    )
}

async fn delete_unknown(world: Arc<World>) -> Played {
    let answer = world
        .post(&format!("/v1/tasks/{}/delete", world.task("nobody")), &json!({}))
        .await?;
    same(answer, json!({"http": 404, "body": {"detail": "<text>"}}))
}

async fn delete_by_wildcard(world: Arc<World>) -> Played {
    let victim = world.task("victim");
    world.done(&victim, MERGE, merge_input()).await?;
    let path = format!("/v1/tasks/{}*/delete", &victim[..victim.len() - 1]);
    let answer = world.post(&path, &json!({"force": true})).await?;
    let left = world.status(&victim).await?;
    differs(
        json!({"delete": answer["http"], "victim": left["http"]}),
        json!({"delete": 200, "victim": 500}),
        json!({"delete": 422, "victim": 200}),
    )
}

async fn retry_failed(world: Arc<World>) -> Played {
    let task = world.task("retry");
    world.done(&task, PREPARE, too_short()).await?;
    let answer = world
        .send(world.request(Method::POST, &format!("/v1/tasks/{task}/retry")))
        .await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 200, "body": {"task_id": task, "status": "pending", "message": "<text>"}}),
    )
}

async fn retry_finished(world: Arc<World>) -> Played {
    let task = world.task("retry");
    world.done(&task, MERGE, merge_input()).await?;
    let answer = world
        .send(world.request(Method::POST, &format!("/v1/tasks/{task}/retry")))
        .await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 200, "body": {"task_id": task, "status": "completed", "reuse_info": {"reuse_hit": true}}}),
    )
}

async fn retry_in_flight(world: Arc<World>) -> Played {
    let held = world.held_run("retry").await?;
    let answer = world
        .send(world.request(Method::POST, &format!("/v1/tasks/{}/retry", held.task)))
        .await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 200, "body": {"status": "pending", "reuse_info": {"reuse_hit": true, "state": "pending"}}}),
    )
}

async fn retry_unknown(world: Arc<World>) -> Played {
    let answer = world
        .send(world.request(Method::POST, &format!("/v1/tasks/{}/retry", world.task("nobody"))))
        .await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 404, "body": {"detail": "<text>"}}),
    )
}

async fn cancel(world: Arc<World>) -> Played {
    let held = world.held_run("cancel").await?;
    let answer = world.delete(&format!("/v1/tasks/{}", held.task)).await?;
    same(
        answer,
        json!({"http": 200, "body": {"task_id": held.task, "status": "cancelled", "message": "<text>"}}),
    )
}

async fn cancelled_status(world: Arc<World>) -> Played {
    let held = world.held_run("cancel").await?;
    world.delete(&format!("/v1/tasks/{}", held.task)).await?;
    let status = world.status(&held.task).await?;
    differs(
        status,
        json!({"http": 500}),
        json!({"http": 200, "body": {"status": "cancelled", "result": {"task_name": AUDIO, "status": "CANCELLED"}}}),
    )
}

async fn cancel_finished(world: Arc<World>) -> Played {
    let task = world.task("cancel");
    world.done(&task, MERGE, merge_input()).await?;
    let answer = world.delete(&format!("/v1/tasks/{task}")).await?;
    same(answer, json!({"http": 400, "body": {"detail": "<text>"}}))
}

async fn cancel_unknown(world: Arc<World>) -> Played {
    let answer = world.delete(&format!("/v1/tasks/{}", world.task("nobody"))).await?;
    differs(
        answer,
        json!({"http": 400}),
        json!({"http": 404, "body": {"detail": "<text>"}}),
    )
}
