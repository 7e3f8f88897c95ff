//! 4 Callbacks.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{AUDIO, MERGE, PREPARE, merge_input, prepare_input, too_short};
use crate::{
    check::{Check, Played, Stop, check, differs, same},
    world::World,
};

/// Longer than the wait before the second try, with its jitter and a busy machine.
const SECOND_TRY: Duration = Duration::from_secs(12);

pub fn checks() -> Vec<Check> {
    vec![
        // The slow ones first: others are played meanwhile.
        check("4 a callback answered with 500 is sent again", server_error),
        check("4 a refused callback is sent again", refused),
        check("4 the second try comes five seconds later", second_try),
        check("4 a redirect is no delivery", redirect),
        check("4 a callback is posted when a run ends", posted),
        check("4 a failed run is called back", failed),
        check("4 a cancelled run is called back", cancelled),
        check("4 the sender is named", sender),
        check("4 a callback has an id", has_an_id),
        check("4 a callback carries every stage", carries_stages),
        check("4 a callback tells of reuse", tells_of_reuse),
        check("4 a hit is called back as well", hit),
        check("4 a callback is about the node that was asked for", about_its_node),
        check("4 a request that joins gets a callback as well", joined),
        check("4 callback_url is taken as callback", callback_url),
        check("4 callback_status is that of a run as well", callback_status),
        check("4 callback_status of a hit is sent", callback_status_of_a_hit),
        check("4 a callback tells where the files are", minio_files),
    ]
}

/// Submits with a callback and returns it.
async fn called_back(world: &World, about: &str, node: &str, input: Value) -> Result<(String, Value), Stop> {
    let (task, hook) = (world.task(about), world.name(about));
    let more = json!({"callback": world.callback(&hook)?});
    world.submit_with(&task, node, input, more).await?;
    let received = world.callbacks(&hook, 1).await?;
    Ok((task, received[0].clone()))
}

async fn posted(world: Arc<World>) -> Played {
    let (task, received) = called_back(&world, "posted", MERGE, merge_input()).await?;
    same(
        received,
        json!({
            "method": "POST", "headers": {"content-type": "application/json"},
            "body": {
                "task_id": task, "status": "completed",
                "result": {"task_name": MERGE, "status": "SUCCESS", "input_params": merge_input(),
                    "output": {"merged_segments": "<list>"}, "error": null, "duration": "<number>"},
                "timestamp": "<time>",
            },
        }),
    )
}

async fn failed(world: Arc<World>) -> Played {
    let (task, received) = called_back(&world, "failed", PREPARE, too_short()).await?;
    same(
        received,
        json!({"body": {"task_id": task, "status": "failed",
            "result": {"task_name": PREPARE, "status": "FAILED", "output": {}, "error": "<text>"}}}),
    )
}

async fn cancelled(world: Arc<World>) -> Played {
    let hook = world.name("cancelled");
    let held = world
        .queued_run("cancelled", json!({"callback": world.callback(&hook)?}))
        .await?;
    world.delete(&format!("/v1/tasks/{}", held.task)).await?;
    let received = world.callbacks(&hook, 1).await?;
    differs(
        received[0].clone(),
        json!({"body": {"status": "<one of completed, failed>"}}),
        json!({"body": {"status": "cancelled", "result": {"task_name": AUDIO, "status": "CANCELLED"}}}),
    )
}

async fn sender(world: Arc<World>) -> Played {
    let (_, received) = called_back(&world, "sender", MERGE, merge_input()).await?;
    differs(
        received,
        json!({"headers": {"user-agent": "YiVideo-API-Gateway/1.0"}}),
        json!({"headers": {"user-agent": "<begins Onceover/>"}}),
    )
}

async fn has_an_id(world: Arc<World>) -> Played {
    let (_, received) = called_back(&world, "id", MERGE, merge_input()).await?;
    differs(
        received,
        json!({"headers": {"webhook-id": "<absent>"}}),
        json!({"headers": {"webhook-id": "<text>", "webhook-timestamp": "<text>"}}),
    )
}

async fn carries_stages(world: Arc<World>) -> Played {
    let (task, hook) = (world.task("stages"), world.name("stages"));
    world.done(&task, PREPARE, prepare_input()).await?;
    world
        .submit_with(&task, MERGE, merge_input(), json!({"callback": world.callback(&hook)?}))
        .await?;
    let received = world.callbacks(&hook, 1).await?;
    let stages = json!({MERGE: {"status": "SUCCESS"}, PREPARE: {"status": "SUCCESS"}});
    differs(
        received[0].clone(),
        json!({"body": {"result": {"task_name": MERGE, "stages": "<absent>"}}}),
        json!({"body": {"result": {"task_name": MERGE, "workflow_id": task, "task_status": "completed",
            "create_at": "<time>", "shared_storage_path": "<text>", "minio_files": "<any>", "stages": stages}}}),
    )
}

async fn tells_of_reuse(world: Arc<World>) -> Played {
    let (_, received) = called_back(&world, "reuse", MERGE, merge_input()).await?;
    differs(
        received,
        json!({"body": {"reuse_info": "<absent>"}}),
        json!({"body": {"reuse_info": {"reuse_hit": false}}}),
    )
}

async fn hit(world: Arc<World>) -> Played {
    let (task, hook) = (world.task("hit"), world.name("hit"));
    world.done(&task, MERGE, merge_input()).await?;
    world
        .submit_with(&task, MERGE, merge_input(), json!({"callback": world.callback(&hook)?}))
        .await?;
    let received = world.callbacks(&hook, 1).await?;
    same(
        received[0].clone(),
        json!({"method": "POST", "body": {"task_id": task, "status": "completed",
            "result": {"task_name": MERGE, "status": "SUCCESS", "output": {"merged_segments": "<list>"}}}}),
    )
}

async fn about_its_node(world: Arc<World>) -> Played {
    let (task, hook) = (world.task("about"), world.name("about"));
    world.done(&task, MERGE, merge_input()).await?;
    world.done(&task, PREPARE, too_short()).await?;
    let more = json!({"callback": world.callback(&hook)?});
    let answer = world.submit_with(&task, MERGE, merge_input(), more).await?;
    let received = world.callbacks(&hook, 1).await?;
    // Its failed sibling made the gateway forget the result, and run the node once more.
    differs(
        json!({"answer": answer["body"]["status"], "callback": received[0]}),
        json!({"answer": "pending"}),
        json!({"answer": "completed", "callback": {"body": {"status": "completed",
            "result": {"task_name": MERGE, "status": "SUCCESS", "error": null, "task_status": "failed"}}}}),
    )
}

async fn joined(world: Arc<World>) -> Played {
    let (first, second) = (world.name("first"), world.name("second"));
    let held = world
        .queued_run("joined", json!({"callback": world.callback(&first)?}))
        .await?;
    let more = json!({"callback": world.callback(&second)?});
    world
        .submit_with(
            &held.task,
            AUDIO,
            json!({"video_path": "https://example.org/clip.mp4"}),
            more,
        )
        .await?;
    held.release();
    world.callbacks(&first, 1).await?;
    let second = world.listener.wait_for(&second, 1, Duration::from_secs(5)).await;
    differs(
        json!({"to the second": second.len()}),
        json!({"to the second": 0}),
        json!({"to the second": 1}),
    )
}

async fn callback_url(world: Arc<World>) -> Played {
    let (task, hook) = (world.task("url"), world.name("url"));
    let more = json!({"callback_url": world.callback(&hook)?});
    let answer = world.submit_with(&task, MERGE, merge_input(), more).await?;
    let received = world.listener.wait_for(&hook, 1, Duration::from_secs(5)).await;
    differs(
        json!({"answer": answer, "callbacks": received.len()}),
        json!({"answer": {"http": 200}, "callbacks": 0}),
        json!({
            "answer": {"http": 200, "body": {"warnings": {"<some>": {"field": "callback_url"}}}},
            "callbacks": 1,
        }),
    )
}

async fn callback_status(world: Arc<World>) -> Played {
    let (task, _) = called_back(&world, "status", MERGE, merge_input()).await?;
    let status = world
        .status_that(&task, |status| status["body"]["callback_status"] != "pending")
        .await?;
    differs(
        status,
        json!({"body": {"callback_status": null}}),
        json!({"body": {"callback_status": "sent"}}),
    )
}

async fn callback_status_of_a_hit(world: Arc<World>) -> Played {
    let (task, hook) = (world.task("hit-status"), world.name("hit-status"));
    world.done(&task, MERGE, merge_input()).await?;
    world
        .submit_with(&task, MERGE, merge_input(), json!({"callback": world.callback(&hook)?}))
        .await?;
    world.callbacks(&hook, 1).await?;
    let status = world
        .status_that(&task, |status| status["body"]["callback_status"] != "pending")
        .await?;
    same(status, json!({"body": {"callback_status": "sent"}}))
}

async fn minio_files(world: Arc<World>) -> Played {
    world.needs_store()?;
    let (task, hook) = (world.task("minio"), world.name("minio"));
    let media = world.media(&task, "clip.wav").await?;
    let more = json!({"callback": world.callback(&hook)?});
    world
        .submit_with(&task, AUDIO, json!({"video_path": media}), more)
        .await?;
    let received = world.callbacks(&hook, 1).await?;
    differs(
        received[0].clone(),
        json!({"body": {"minio_files": "<absent>"}}),
        json!({"body": {
            "minio_files": {"<each>": {"name": "<text>", "url": "<begins http>", "type": "<text>", "size": "<number>"}},
            "result": {"output": {"audio_path": "<text>", "audio_path_minio_url": "<begins http>"}},
        }}),
    )
}

/// What came to a hook whose first answer is this, until a second try should have come.
async fn tries(world: &World, about: &str, answer: (u16, Option<String>)) -> Result<Value, Stop> {
    let (task, hook) = (world.task(about), world.name(about));
    let callback = world.callback(&hook)?;
    world.listener.plan_answers(&hook, &[answer]);
    world
        .submit_with(&task, MERGE, merge_input(), json!({"callback": callback}))
        .await?;
    world.callbacks(&hook, 1).await?;
    let received = world.listener.wait_for(&hook, 2, SECOND_TRY).await;
    let waited = received
        .last()
        .map(|last| (last.at - received[0].at).as_secs_f64())
        .unwrap_or_default();
    let bodies: Vec<_> = received.iter().map(|received| &received.body).collect();
    Ok(json!({
        "tries": received.len(),
        "wait": if (4.0..10.0).contains(&waited) { "about five seconds".to_owned() } else { format!("{waited} s") },
        "same body": bodies.windows(2).all(|two| two[0] == two[1]),
    }))
}

async fn server_error(world: Arc<World>) -> Played {
    same(
        tries(&world, "error", (500, None)).await?,
        json!({"tries": 2, "same body": true}),
    )
}

async fn second_try(world: Arc<World>) -> Played {
    same(
        tries(&world, "second-try", (503, None)).await?,
        json!({"tries": 2, "wait": "about five seconds"}),
    )
}

async fn refused(world: Arc<World>) -> Played {
    differs(
        tries(&world, "refused", (404, None)).await?,
        json!({"tries": 1}),
        json!({"tries": 2}),
    )
}

async fn redirect(world: Arc<World>) -> Played {
    let elsewhere = world.name("elsewhere");
    let location = world.callback(&elsewhere)?;
    let seen = tries(&world, "redirect", (302, Some(location))).await?;
    let followed = world.listener.received(&elsewhere).len();
    differs(
        json!({"tries": seen["tries"], "followed": followed}),
        json!({"tries": 1, "followed": 1}),
        json!({"tries": 2, "followed": 0}),
    )
}
