//! 3 Which callbacks are taken.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{MERGE, merge_input};
use crate::{
    check::{Check, Played, Stop, check, differs},
    world::World,
};

pub fn checks() -> Vec<Check> {
    vec![
        check("3 a callback that is no web address is refused", |world| {
            refused(world, "ftp://example.org/hook", 400)
        }),
        check("3 a callback without a host is refused", |world| {
            refused(world, "http://", 200)
        }),
        check("3 a callback that is too long is refused", too_long),
        check("3 a callback to a metadata address is refused", |world| {
            refused(world, "http://169.254.169.254/latest", 200)
        }),
        check("3 a callback to an address that is not public is refused", |world| {
            unless_allowed(world, "http://127.0.0.2:9/hook")
        }),
        check("3 a callback to an address in other digits is refused", |world| {
            unless_allowed(world, "http://0x7f000002:9/hook")
        }),
    ]
}

async fn submit(world: &World, callback: &str) -> Result<Value, Stop> {
    let more = json!({"callback": callback});
    Ok(world
        .submit_with(&world.task("address"), MERGE, merge_input(), more)
        .await?)
}

fn refusal() -> Value {
    json!({"http": 422, "body": {"detail": "<text>", "errors": {"<some>": {"field": "callback"}}}})
}

async fn refused(world: Arc<World>, callback: &'static str, older: u16) -> Played {
    differs(submit(&world, callback).await?, json!({"http": older}), refusal())
}

async fn too_long(world: Arc<World>) -> Played {
    let callback = format!("https://example.org/{}", "a".repeat(2048));
    differs(submit(&world, &callback).await?, json!({"http": 400}), refusal())
}

/// Where the operator allows such an address nothing can be seen.
async fn unless_allowed(world: Arc<World>, callback: &'static str) -> Played {
    let answer = submit(&world, callback).await?;
    let wild = submit(&world, "http://240.0.0.1:9/hook").await?;
    if answer["http"] == 200 && wild["http"] == 422 {
        return Err(Stop::Skipped("callbacks.allow of the daemon has the address".into()));
    }
    differs(answer, json!({"http": 200}), refusal())
}
