//! Deliveries from the durable outbox (C1-C4): taken when due, tried, recorded, tried again.

use std::{sync::Arc, time::Duration};

use onceover_common::{CallbackStatus, NodeName, StageState, Timestamp, wire::TaskView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::guard::refusal;
use crate::{
    engine::{Engine, EngineError},
    store::{Delivery, StoreError},
};

/// When and how often to try.
#[derive(Debug, Clone)]
pub struct DeliveryOptions {
    /// Waits before each try.
    pub schedule: Vec<Duration>,
    /// Limit of one try.
    pub timeout: Duration,
}

/// Deliveries under way at a time; one receiver that hangs holds up none of the others.
const AT_A_TIME: usize = 32;
/// How long to wait when nothing is due and nothing wakes us.
const IDLE: Duration = Duration::from_secs(30);
/// How much of a refusal is kept for people to read.
const DETAIL_LIMIT: usize = 300;

/// What a callback carries.
#[derive(Serialize)]
struct Body<'a> {
    task_id: &'a str,
    status: &'a str,
    result: &'a TaskView,
    reuse_info: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    minio_files: Option<&'a [serde_json::Value]>,
    timestamp: Timestamp,
}

/// The stage as the run left it, which the callback tells even if it has run again since.
#[derive(Deserialize)]
struct StageThen {
    status: StageState,
    input_params: Box<RawValue>,
    output: Box<RawValue>,
    error: Option<String>,
    duration: f64,
}

/// Delivers until `stop`.
pub async fn run(engine: Engine, client: reqwest::Client, options: DeliveryOptions, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let hold = options.timeout * 2 + Duration::from_secs(10);
    loop {
        let wait = match places.available_permits() {
            // A place that gets free wakes us.
            0 => IDLE,
            free => match engine.store.outbox_take(free as u32, hold).await {
                Ok((taken, next)) => {
                    for delivery in taken {
                        let permit = Arc::clone(&places)
                            .acquire_owned()
                            .await
                            .expect("nobody closes the places");
                        let (engine, client, options) = (engine.clone(), client.clone(), options.clone());
                        tokio::spawn(async move {
                            attempt(&engine, &client, &options, delivery).await;
                            drop(permit);
                            engine.hub.outbox_grew();
                        });
                    }
                    next.map_or(IDLE, |next| next.min(IDLE))
                }
                Err(error) => {
                    tracing::debug!(%error, "deliveries not looked at");
                    Duration::from_secs(1)
                }
            },
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = engine.hub.delivery_wanted() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn attempt(engine: &Engine, client: &reqwest::Client, options: &DeliveryOptions, delivery: Delivery) {
    let outcome = match body(engine, &delivery).await {
        Ok(Some(body)) => match engine.guard.check_url(&delivery.url) {
            Ok(_) => send(client, options, &delivery, body).await,
            // What may be called can have changed since it was asked for.
            Err(refused) => Err(refused),
        },
        // The task is gone, and the delivery with it.
        Ok(None) => return,
        Err(error) => Err(error.to_string()),
    };
    let (state, retry, detail) = match outcome {
        Ok(detail) => (CallbackStatus::Sent, None, detail),
        Err(detail) => match options.schedule.get(delivery.attempts as usize) {
            Some(wait) => (CallbackStatus::Pending, Some(jittered(*wait)), detail),
            None => (CallbackStatus::Failed, None, detail),
        },
    };
    tracing::info!(id = delivery.id, task = %delivery.task, attempt = delivery.attempts, ?state, detail, "callback");
    let mut wait = Duration::from_millis(200);
    while let Err(StoreError::Unavailable(error)) = engine.delivered(&delivery.id, state, retry, &detail).await {
        tracing::debug!(error, "the outcome of a callback waits for Redis");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// Up to a tenth more or less, so that what failed together is not tried again together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + fastrand::f64() * 0.2)
}

async fn body(engine: &Engine, delivery: &Delivery) -> Result<Option<String>, EngineError> {
    if let Some(body) = &delivery.body {
        return Ok(Some(body.clone()));
    }
    let mut view = match engine.view(&delivery.task, None).await {
        Ok(view) => view,
        Err(EngineError::UnknownTask(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let then: StageThen = serde_json::from_str(&delivery.stage)
        .map_err(|error| StoreError::Unexpected(format!("a delivery's stage is broken: {error}")))?;
    tell(&mut view, &delivery.node, then);
    let reuse = RawValue::from_string(delivery.reuse.clone())
        .map_err(|error| StoreError::Unexpected(format!("a delivery's reuse_info is broken: {error}")))?;
    let body = Body {
        task_id: delivery.task.as_str(),
        status: &delivery.status,
        result: &view,
        reuse_info: &reuse,
        minio_files: view.minio_files.as_deref(),
        timestamp: Timestamp::now(),
    };
    let text = serde_json::to_string(&body).expect("a task view can be written as JSON");
    // Each try sends the same bytes under the same id.
    Ok(engine.store.outbox_body(&delivery.id, &text).await?)
}

/// Makes the view speak of the requested node, as its run ended (C1).
fn tell(view: &mut TaskView, node: &NodeName, then: StageThen) {
    view.task_name = Some(node.clone());
    view.output = Some(then.output.clone());
    view.duration = Some(then.duration);
    if let Some(stage) = view.stages.get_mut(node) {
        stage.status = then.status;
        stage.input_params = then.input_params;
        stage.output = then.output;
        stage.error = then.error;
        stage.duration = then.duration;
    }
}

async fn send(
    client: &reqwest::Client,
    options: &DeliveryOptions,
    delivery: &Delivery,
    body: String,
) -> Result<String, String> {
    let response = client
        .post(&delivery.url)
        .timeout(options.timeout)
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &delivery.id)
        .header("webhook-timestamp", (Timestamp::now().as_millis() / 1000).to_string())
        .body(body)
        .send()
        .await
        .map_err(|error| refusal(&error).map_or_else(|| causes(&error), ToString::to_string))?;
    let status = response.status();
    // 3xx is no delivery: redirects are not followed.
    if status.is_success() {
        Ok(format!("answered {status}"))
    } else {
        Err(format!("answered {status}"))
    }
}

/// The whole chain of an error: the reason a connection was refused is at its end.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().take(DETAIL_LIMIT).collect()
}
