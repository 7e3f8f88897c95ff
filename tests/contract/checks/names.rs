//! 3 Identifiers and validation, but for callbacks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{AUDIO, MERGE, merge_input};
use crate::{
    check::{Check, Played, check, differs, same},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check(
            "3 an id of letters, digits, dots, dashes and underscores is taken",
            usual_id,
        ),
        check("3 an id that leaves its folder is refused", |world| {
            wrong_id(world, "../x/y")
        }),
        check("3 an id with a wildcard is refused", |world| {
            wrong_id(world, "contract-*")
        }),
        check("3 an id with a colon is refused", |world| wrong_id(world, "contract:a")),
        check("3 a reserved word is no id", |world| wrong_id(world, "health")),
        check("3 a missing parameter is refused at once", |world| {
            wrong_input(world, json!({}))
        }),
        check("3 a parameter of a wrong type is refused at once", |world| {
            wrong_input(world, json!({"video_path": ["a.mp4"]}))
        }),
        check("3 a file that is not there is refused at once", |world| {
            wrong_input(
                world,
                json!({"video_path": "share/workflows/contract-nobody/in/gone.mp4"}),
            )
        }),
        check("3 a file outside of the roots is refused at once", |world| {
            wrong_input(world, json!({"video_path": "/etc/passwd"}))
        }),
    ]
}

async fn usual_id(world: Arc<World>) -> Played {
    let task = world.task("Lecture_07.v2");
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    same(
        answer,
        json!({"http": 200, "body": {"task_id": task, "status": "pending"}}),
    )
}

async fn wrong_id(world: Arc<World>, id: &'static str) -> Played {
    let answer = world.submit(id, MERGE, merge_input()).await?;
    differs(
        answer,
        json!({"http": 200, "body": {"task_id": id}}),
        json!({"http": 422, "body": {"detail": "<text>", "errors": {"<some>": {"field": "task_id"}}}}),
    )
}

/// Refused, and nothing of it is stored.
async fn wrong_input(world: Arc<World>, input: Value) -> Played {
    let task = world.task("input");
    let answer = world.submit(&task, AUDIO, input).await?;
    let stored = world.get(&format!("/v1/tasks/{task}/result")).await?;
    differs(
        json!({"submit": answer, "task": stored["http"]}),
        json!({"submit": {"http": 200, "body": {"status": "pending"}}, "task": 200}),
        json!({
            "submit": {"http": 422, "body": {"detail": "<text>", "errors": {"<some>": {"field": "<contains video_path>"}}}},
            "task": 404,
        }),
    )
}
