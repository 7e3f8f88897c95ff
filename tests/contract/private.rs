//! A daemon of this program, with all that the contract is about: an object store, a Redis to look into, and leave to
//! reach this machine.

use anyhow::{Context, Result};
use onceover_tests::{Daemon, S3Server};
use serde_json::Value;

use crate::world::GatewayTarget;

/// Stopped, and removed with all it holds, when dropped.
pub struct Home {
    daemon: Daemon,
    redis: String,
    // The daemon goes before its store.
    _store: S3Server,
}

const CONFIG: &str = r#"
[slots]
cpu = 2

[callbacks]
allow = ["127.0.0.1"]

[inputs]
allow = ["127.0.0.1"]

[runs]
grace = "500ms"
"#;

/// Starts it and waits until it is ready.
pub async fn start_daemon() -> Result<Home> {
    let store = S3Server::start().await;
    let mut builder = Daemon::builder()
        .nodes("")
        .config(&format!("{CONFIG}{}", store.config()));
    for (name, value) in store.keys() {
        builder = builder.env(name, value);
    }
    let daemon = builder.start().await;
    let answer = reqwest::get(format!("{}/v1/system", daemon.url())).await?;
    let system: Value = answer.json().await?;
    let redis = system["redis"]["url"]
        .as_str()
        .context("GET /v1/system tells no Redis")?
        .to_owned();
    Ok(Home {
        daemon,
        redis,
        _store: store,
    })
}

impl Home {
    pub fn target(&self) -> GatewayTarget {
        GatewayTarget {
            base: self.daemon.url(),
            token: None,
            media: None,
            callback_host: None,
            redis: Some(self.redis.clone()),
        }
    }
}
