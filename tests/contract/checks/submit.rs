//! 2.1 `POST /v1/tasks`.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{AUDIO, MERGE, PREPARE, merge_input, prepare_input, too_short};
use crate::{
    check::{Check, Played, check, differs, same},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check("2.1 a submit is answered pending", answers_pending),
        check("2.1 a task without an id gets one", |world| {
            without_an_id(world, json!({}))
        }),
        check("2.1 an id of null is no id", |world| {
            without_an_id(world, json!({"task_id": null}))
        }),
        check("2.1 a callback may be null", |world| {
            more(world, json!({"callback": null}))
        }),
        check("2.1 a stray key does not matter", |world| {
            more(world, json!({"priority": 3}))
        }),
        check("2.1 a stray key of the request is reported", stray_key_is_reported),
        check("2.1 a stray parameter does not matter", stray_parameter),
        check("2.1 a stray parameter is reported", stray_parameter_is_reported),
        check(
            "2.1 a stray key is refused where that is asked for",
            stray_key_is_refused,
        ),
        check("2.1 a miss says why it runs", miss_says_why),
        check("2.1 a hit is answered completed", hit),
        check("2.1 a hit tells when its result was made", hit_tells_its_time),
        check("2.1 a hit carries every stage", hit_carries_stages),
        check("2.1 other input hits all the same", other_input),
        check("2.1 a hit tells that the input differs", other_input_is_reported),
        check("2.1 a stage in flight is joined", in_flight),
        check("2.1 joining tells no time of a result", joining_tells_no_time),
        check("2.1 of many at once one runs", many_at_once),
        check("2.1 a failed stage runs again", failed_stage),
        check("2.1 a second node runs with its own input", second_node),
        check("2.1 an empty task_name is refused", |world| wrong_name(world, "", 400)),
        check("2.1 a name without a dot is refused", |world| {
            wrong_name(world, "extract_audio", 500)
        }),
        check("2.1 an unknown service is refused", |world| {
            wrong_name(world, "nope.extract_audio", 500)
        }),
        check("2.1 an unknown method is refused", |world| {
            wrong_name(world, "ffmpeg.nope", 200)
        }),
        check("2.1 a request without a name is refused", |world| {
            malformed(world, json!({"input_data": {}}))
        }),
        check("2.1 a request without input is refused", |world| {
            malformed(world, json!({"task_name": MERGE}))
        }),
        check("2.1 input that is no object is refused", |world| {
            malformed(world, json!({"task_name": MERGE, "input_data": []}))
        }),
        check("2.1 a refused request names its fields", refusal_names_fields),
        check("2.1 a body that is no JSON is refused", no_json),
    ]
}

async fn answers_pending(world: Arc<World>) -> Played {
    let task = world.task("pending");
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    same(
        answer,
        json!({"http": 200, "body": {"task_id": task, "status": "pending", "message": "<text>"}}),
    )
}

async fn without_an_id(world: Arc<World>, more: Value) -> Played {
    let mut body = json!({"task_name": MERGE, "input_data": merge_input()});
    if let Some(id) = more.get("task_id") {
        body["task_id"] = id.clone();
    }
    let answer = world.post("/v1/tasks", &body).await?;
    if let Some(task) = answer["body"]["task_id"].as_str() {
        world.keep_track(task);
    }
    same(
        answer,
        json!({"http": 200, "body": {"task_id": "<begins task->", "status": "pending"}}),
    )
}

async fn more(world: Arc<World>, more: Value) -> Played {
    let task = world.task("more");
    let answer = world.submit_with(&task, MERGE, merge_input(), more).await?;
    same(
        answer,
        json!({"http": 200, "body": {"task_id": task, "status": "pending"}}),
    )
}

async fn stray_key_is_reported(world: Arc<World>) -> Played {
    let task = world.task("stray");
    let answer = world
        .submit_with(&task, MERGE, merge_input(), json!({"priority": 3}))
        .await?;
    differs(
        answer,
        json!({"body": {"warnings": "<absent>"}}),
        json!({"http": 200, "body": {"warnings": {"<some>": {"code": "<text>", "field": "<contains priority>"}}}}),
    )
}

async fn with_stray_parameter(world: &World) -> Result<Value, crate::check::Stop> {
    let mut input = prepare_input();
    input["min_duratoin"] = json!(2.0);
    Ok(world.submit(&world.task("stray"), PREPARE, input).await?)
}

async fn stray_parameter(world: Arc<World>) -> Played {
    let answer = with_stray_parameter(&world).await?;
    same(answer, json!({"http": 200, "body": {"status": "pending"}}))
}

async fn stray_parameter_is_reported(world: Arc<World>) -> Played {
    let answer = with_stray_parameter(&world).await?;
    let warning = json!({"code": "<text>", "field": "<contains min_duratoin>"});
    differs(
        answer,
        json!({"body": {"warnings": "<absent>"}}),
        json!({"http": 200, "body": {"warnings": {"<some>": warning}}}),
    )
}

async fn stray_key_is_refused(world: Arc<World>) -> Played {
    let body = json!({"task_name": MERGE, "task_id": world.task("strict"), "input_data": merge_input(), "priority": 3});
    let request = world
        .request(Method::POST, "/v1/tasks")
        .header("prefer", "handling=strict")
        .json(&body);
    differs(
        world.send(request).await?,
        json!({"http": 200}),
        json!({"http": 422, "body": {"errors": {"<some>": {"field": "<contains priority>"}}}}),
    )
}

async fn miss_says_why(world: Arc<World>) -> Played {
    let answer = world.submit(&world.task("miss"), MERGE, merge_input()).await?;
    let info = json!({"reuse_hit": false, "task_name": MERGE, "reason": "absent", "run_id": "<text>"});
    differs(
        answer,
        json!({"http": 200, "body": {"reuse_info": "<absent>"}}),
        json!({"http": 200, "body": {"reuse_info": info}}),
    )
}

async fn hit(world: Arc<World>) -> Played {
    let task = world.task("hit");
    world.done(&task, MERGE, merge_input()).await?;
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    same(
        answer,
        json!({"http": 200, "body": {
            "task_id": task, "status": "completed", "message": "<text>",
            "reuse_info": {"reuse_hit": true, "task_name": MERGE, "source": "redis", "cached_at": "<text>"},
            "result": {
                "task_name": MERGE, "status": "SUCCESS",
                "input_params": {"segments_data": "<list>", "speaker_segments_data": "<list>"},
                "output": {"merged_segments": "<list>", "input_summary": "<object>"},
                "error": null, "duration": "<number>",
            },
        }}),
    )
}

async fn hit_tells_its_time(world: Arc<World>) -> Played {
    let task = world.task("hit-time");
    world.done(&task, MERGE, merge_input()).await?;
    let first = world.submit(&task, MERGE, merge_input()).await?;
    // Long enough for another time, if it is that of the answer.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = world.submit(&task, MERGE, merge_input()).await?;
    let times = [&first, &second].map(|answer| &answer["body"]["reuse_info"]["cached_at"]);
    let got = json!({"time": times[0], "same of two hits": times[0] == times[1]});
    differs(
        got,
        json!({"time": "<text>", "same of two hits": false}),
        json!({"time": "<time>", "same of two hits": true}),
    )
}

async fn hit_carries_stages(world: Arc<World>) -> Played {
    let task = world.task("hit-stages");
    world.done(&task, MERGE, merge_input()).await?;
    world.done(&task, PREPARE, prepare_input()).await?;
    let answer = world.submit(&task, MERGE, merge_input()).await?;
    let stage = json!({"status": "SUCCESS", "input_params": "<object>", "output": "<object>", "error": null,
        "duration": "<number>"});
    differs(
        answer,
        json!({"body": {"status": "completed", "result": {"stages": "<absent>"}}}),
        json!({"body": {"status": "completed", "result": {
            "task_name": MERGE, "workflow_id": task, "task_status": "completed", "create_at": "<time>",
            "shared_storage_path": "<text>", "minio_files": "<any>", "stages": {MERGE: stage, PREPARE: stage},
        }}}),
    )
}

async fn hit_with_other_input(world: &World) -> Result<Value, crate::check::Stop> {
    let task = world.task("other-input");
    world.done(&task, MERGE, merge_input()).await?;
    let mut input = merge_input();
    input["segments_data"][0]["text"] = json!("Something else.");
    Ok(world.submit(&task, MERGE, input).await?)
}

async fn other_input(world: Arc<World>) -> Played {
    let answer = hit_with_other_input(&world).await?;
    same(
        answer,
        json!({"http": 200, "body": {"status": "completed", "reuse_info": {"reuse_hit": true}}}),
    )
}

async fn other_input_is_reported(world: Arc<World>) -> Played {
    let answer = hit_with_other_input(&world).await?;
    differs(
        answer,
        json!({"body": {"reuse_info": {"input_changed": "<absent>"}}}),
        json!({"body": {"reuse_info": {"input_changed": true}}}),
    )
}

async fn join(world: &World) -> Result<Value, crate::check::Stop> {
    let held = world.held_run("join").await?;
    Ok(world
        .submit(&held.task, AUDIO, json!({"video_path": "https://example.org/clip.mp4"}))
        .await?)
}

async fn in_flight(world: Arc<World>) -> Played {
    let answer = join(&world).await?;
    let info = json!({"reuse_hit": true, "task_name": AUDIO, "source": "redis", "state": "pending",
        "stage_status": "RUNNING", "run_id": "<text>"});
    differs(
        answer,
        json!({"http": 200, "body": {"status": "pending", "reuse_info": "<absent>", "result": "<absent>"}}),
        json!({"http": 200, "body": {"status": "pending", "message": "<text>", "reuse_info": info, "result": "<absent>"}}),
    )
}

async fn joining_tells_no_time(world: Arc<World>) -> Played {
    let answer = join(&world).await?;
    differs(
        answer,
        json!({"body": {"reuse_info": {"cached_at": "<text>"}}}),
        json!({"body": {"reuse_info": {"cached_at": null}}}),
    )
}

async fn many_at_once(world: Arc<World>) -> Played {
    let task = world.task("at-once");
    let answers = join_all((0..8).map(|_| world.submit(&task, MERGE, merge_input()))).await;
    let mut runs = 0;
    for answer in answers {
        let info = &answer?["body"]["reuse_info"];
        // Without the field nothing tells that it was not dispatched.
        runs += usize::from(info["reuse_hit"] != true);
    }
    differs(json!({"runs": runs}), json!({"runs": 8}), json!({"runs": 1}))
}

async fn failed_stage(world: Arc<World>) -> Played {
    let task = world.task("failed");
    world.done(&task, PREPARE, too_short()).await?;
    let answer = world.submit(&task, PREPARE, prepare_input()).await?;
    differs(
        answer,
        json!({"http": 200, "body": {"status": "pending", "reuse_info": "<absent>"}}),
        json!({"http": 200, "body": {"status": "pending", "reuse_info": {"reuse_hit": false, "reason": "failed"}}}),
    )
}

async fn second_node(world: Arc<World>) -> Played {
    let task = world.task("second");
    world.done(&task, MERGE, merge_input()).await?;
    let status = world.done(&task, PREPARE, prepare_input()).await?;
    differs(
        status,
        json!({"body": {"result": {"input_params": merge_input()}}}),
        json!({"body": {"status": "completed", "result": {
            "task_name": PREPARE, "status": "SUCCESS", "input_params": prepare_input(),
            "output": {"prepared_segments": "<list>"},
        }}}),
    )
}

async fn wrong_name(world: Arc<World>, name: &'static str, older: u16) -> Played {
    let answer = world.submit(&world.task("name"), name, json!({})).await?;
    differs(
        answer,
        json!({"http": older}),
        json!({"http": 422, "body": {"detail": "<text>", "errors": {"<some>": {"field": "task_name"}}}}),
    )
}

async fn malformed(world: Arc<World>, body: Value) -> Played {
    let answer = world.post("/v1/tasks", &body).await?;
    same(answer, json!({"http": 422, "body": {"detail": "<any>"}}))
}

async fn refusal_names_fields(world: Arc<World>) -> Played {
    let answer = world.post("/v1/tasks", &json!({"task_name": MERGE})).await?;
    differs(
        answer,
        json!({"http": 422, "body": {"detail": "<list>"}}),
        json!({
            "http": 422, "headers": {"content-type": "application/problem+json"},
            "body": {"status": 422, "title": "<text>", "detail": "<text>", "errors": {"<some>": {"field": "input_data"}}},
        }),
    )
}

async fn no_json(world: Arc<World>) -> Played {
    let request = world
        .request(Method::POST, "/v1/tasks")
        .header("content-type", "application/json")
        .body("{task_name:");
    differs(
        world.send(request).await?,
        json!({"http": 422}),
        json!({"http": 400, "body": {"detail": "<text>"}}),
    )
}
