//! Deliveries from the durable outbox (C1-C4): taken when due, tried, recorded, tried again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use onceover_types::{CallbackStatus, Timestamp};
use onceover_wire::NodeResult;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::field::display;

use super::send::{CallbackAnswer, Courier, WAIT_LIMIT};
use crate::{
    events::EventBus,
    metrics::Metrics,
    services::{ServiceError, TaskViews},
    ssrf_guard::SsrfGuard,
};
use onceover_limits::Limit;
use onceover_store::{Contact, Delivery, DeliveryPatience, Recorded, Room, Store, StoreError, Tried};

/// How deliveries are made.
#[derive(Debug)]
pub struct DeliveryOptions {
    /// This daemon, under whose name deliveries are held.
    pub owner: String,
    /// Waits before each try.
    pub schedule: Vec<Duration>,
    /// Limit of one try.
    pub timeout: Duration,
    /// Deliveries under way at a time.
    pub max_at_once: usize,
    /// Of these to one host, so that one that hangs holds up none of the others.
    pub max_per_host: usize,
    /// Silences in a row after which a host is left alone.
    pub breaker_after: u32,
    /// How long, at first.
    pub breaker_wait: Duration,
}

impl DeliveryOptions {
    fn patience(&self) -> DeliveryPatience {
        let hold = self.timeout * 2 + Duration::from_secs(10);
        let longest = self.schedule.iter().max().copied().unwrap_or_default();
        // With the jitter, and with what a receiver and a breaker may ask for.
        let longest = (longest.mul_f64(1.1))
            .max(WAIT_LIMIT)
            .max(hold)
            .max(self.breaker_wait * 16);
        DeliveryPatience {
            breaker_after: self.breaker_after,
            breaker_wait: self.breaker_wait,
            hold,
            longest: longest + Duration::from_secs(1),
        }
    }
}

/// How long to wait when nothing is due and nothing wakes us.
const IDLE: Duration = Duration::from_secs(30);
/// How long tries under way may take once the daemon stops. What is cut off is tried again by the next start.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What a callback carries.
#[derive(Serialize)]
struct Body<'a> {
    task_id: &'a str,
    status: &'a str,
    result: &'a NodeResult,
    reuse_info: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    minio_files: Option<&'a [serde_json::Value]>,
    timestamp: Timestamp,
}

/// After the outbox had nothing to take: every change of a stage that waits for a callback makes us ask, and a receiver
/// that hangs can make that thousands a second.
const PAUSE: Duration = Duration::from_millis(20);

/// What deliveries are made with.
pub struct DeliveryParts {
    pub store: Store,
    pub bus: EventBus,
    pub metrics: Metrics,
    pub views: TaskViews,
    /// Judges the URLs that are to be called.
    pub guard: Arc<SsrfGuard>,
    pub courier: Arc<dyn Courier>,
}

/// Delivers until `stop`.
pub async fn run(parts: DeliveryParts, options: DeliveryOptions, stop: CancellationToken) {
    let mut deliverer = Deliverer {
        parts: Arc::new(parts),
        options: Arc::new(options),
        tries: JoinSet::new(),
        hosts: HashMap::new(),
    };
    loop {
        let next = deliverer.begin_due().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = deliverer.tries.join_next_with_id() => deliverer.forget(ended),
            () = tokio::time::sleep(next.within) => {}
            () = wanted(&deliverer.parts.bus, next.not_before) => {}
        }
    }
    let mut tries = deliverer.tries;
    let _ = tokio::time::timeout(STOP_WAIT, async { while tries.join_next().await.is_some() {} }).await;
}

/// The tries under way.
struct Deliverer {
    parts: Arc<DeliveryParts>,
    options: Arc<DeliveryOptions>,
    tries: JoinSet<()>,
    /// Whom each of them calls.
    hosts: HashMap<Id, String>,
}

/// When the outbox is asked again: by then at the latest, and not before, whatever wakes us.
struct NextAsk {
    not_before: Instant,
    within: Duration,
}

impl Deliverer {
    /// Begins what is due, as far as there is room.
    async fn begin_due(&mut self) -> NextAsk {
        let mut busy = HashMap::<String, usize>::new();
        for host in self.hosts.values() {
            *busy.entry(host.clone()).or_default() += 1;
        }
        let options = &self.options;
        let room = Room {
            places: options.max_at_once,
            free: options.max_at_once.saturating_sub(self.tries.len()),
            per_host: options.max_per_host,
            busy: &busy,
        };
        let not_before = Instant::now();
        if room.free == 0 {
            Limit::Callbacks.reached();
            // A place that gets free wakes us.
            return NextAsk {
                not_before,
                within: IDLE,
            };
        }
        let store = &self.parts.store;
        let (taken, next) = match store.outbox_take(&options.owner, room, options.patience()).await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "deliveries not looked at");
                return NextAsk {
                    not_before,
                    within: Duration::from_secs(1),
                };
            }
        };
        let pause = if taken.is_empty() { PAUSE } else { Duration::ZERO };
        for delivery in taken {
            self.begin(delivery, &mut busy);
        }
        NextAsk {
            not_before: not_before + pause,
            within: next.map_or(IDLE, |next| next.min(IDLE)),
        }
    }

    /// Begins one try. `busy` counts those under way by host.
    fn begin(&mut self, delivery: Delivery, busy: &mut HashMap<String, usize>) {
        let host = delivery.host.clone();
        let of_host = busy.entry(host.clone()).or_default();
        *of_host += 1;
        if *of_host == self.options.max_per_host {
            Limit::CallbacksOfHost.reached();
        }
        let (parts, options) = (Arc::clone(&self.parts), Arc::clone(&self.options));
        let task = self
            .tries
            .spawn(async move { attempt(&parts, &options, delivery).await });
        self.hosts.insert(task.id(), host);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a delivery panicked");
                error.id()
            }
        };
        self.hosts.remove(&id);
    }
}

/// Waits until there may be a delivery, but not less than `earliest`.
async fn wanted(bus: &EventBus, earliest: Instant) {
    tokio::time::sleep_until(earliest).await;
    bus.delivery_wanted().await;
}

async fn attempt(parts: &DeliveryParts, options: &DeliveryOptions, delivery: Delivery) {
    let answer = match body(parts, &delivery).await {
        Ok(Some(body)) => match parts.guard.check_url(&delivery.url) {
            Ok(_) => parts.courier.send(&delivery, body).await,
            // What may be called can have changed since it was asked for.
            Err(refused) => CallbackAnswer::failed(refused),
        },
        // Deleted with its task.
        Ok(None) => return,
        Err(ServiceError::UnknownTask(task)) => CallbackAnswer::Refused {
            status: None,
            detail: format!("task '{task}' has expired before the callback could be sent"),
            wait: None,
            gone: true,
            contact: Contact::NotAsked,
        },
        Err(error) => CallbackAnswer::failed(error.to_string()),
    };
    let tried = outcome(answer, delivery.attempts, &options.schedule);
    log_try(&delivery, &tried);
    let mut wait = Duration::from_millis(200);
    loop {
        match parts.store.outbox_done(&delivery, &tried, options.patience()).await {
            Ok(recorded @ (Recorded::Done | Recorded::BreakerOpened)) => {
                if recorded == Recorded::BreakerOpened {
                    Limit::CallbackBreaker.reached();
                    tracing::warn!(
                        host = delivery.host,
                        "a receiver of callbacks does not answer: it is left alone for a while, which uses no try"
                    );
                }
                return parts.metrics.called_back(tried.state);
            }
            Ok(Recorded::Gone) => {
                tracing::debug!(callback_id = delivery.id, "deleted, or taken again, while it was tried");
                return;
            }
            Err(StoreError::Unavailable(error)) => {
                tracing::debug!(error, "the outcome of a callback waits for Redis");
            }
            Err(error) => {
                // It is tried again when nobody holds it any more.
                tracing::error!(callback_id = delivery.id, %error, "the outcome of a callback cannot be recorded");
                return;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// Logs how a try went; it says nothing of the URL, which may hold secrets.
fn log_try(delivery: &Delivery, tried: &Tried) {
    let callback_id = display(&delivery.id);
    let (task_id, task_name) = (display(&delivery.task), display(&delivery.node));
    let run_id = delivery.run.as_ref().map(display);
    let (attempt, detail) = (delivery.attempts + 1, tried.detail.as_str());
    // In the place of one that could not be read there is the URL.
    let host = Some(delivery.host.as_str()).filter(|host| !host.contains('/'));
    match (tried.state, tried.retry) {
        (CallbackStatus::Sent, _) => {
            tracing::info!(
                task_id,
                task_name,
                run_id,
                callback_id,
                host,
                attempt,
                detail,
                "callback sent"
            );
        }
        (_, Some(retry)) => {
            let retry_seconds = retry.as_secs();
            tracing::warn!(
                task_id,
                task_name,
                run_id,
                callback_id,
                host,
                attempt,
                detail,
                retry_seconds,
                "callback not taken; it is tried again"
            );
        }
        (_, None) => {
            Limit::CallbackTries.reached();
            tracing::warn!(
                task_id,
                task_name,
                run_id,
                callback_id,
                host,
                attempt,
                detail,
                "callback given up"
            );
        }
    }
}

/// What follows from an answer, `before` tries of the schedule having ended earlier.
fn outcome(answer: CallbackAnswer, before: u32, schedule: &[Duration]) -> Tried {
    match answer {
        CallbackAnswer::Accepted { status } => Tried {
            state: CallbackStatus::Sent,
            retry: None,
            detail: format!("answered {status}"),
            http_status: Some(status),
            contact: Contact::Answered,
        },
        CallbackAnswer::Refused {
            status,
            detail,
            wait,
            gone,
            contact,
        } => {
            let retry = schedule.get(before as usize + 1).filter(|_| !gone);
            // Not before the receiver wants it.
            let retry = retry.map(|next| jittered(*next).max(wait.unwrap_or_default()));
            Tried {
                state: match retry {
                    Some(_) => CallbackStatus::Pending,
                    None => CallbackStatus::Failed,
                },
                retry,
                detail,
                http_status: status,
                contact,
            }
        }
    }
}

/// Up to a tenth more or less, so that what failed together is not tried again together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.9 + fastrand::f64() * 0.2)
}

async fn body(parts: &DeliveryParts, delivery: &Delivery) -> Result<Option<String>, ServiceError> {
    if let Some(body) = &delivery.body {
        return Ok(Some(body.clone()));
    }
    if delivery.stage.is_empty() {
        return Err(ServiceError::UnknownTask(delivery.task.clone()));
    }
    // The stage as the run left it.
    let end = serde_json::from_str(&delivery.stage)
        .map_err(|error| StoreError::Unexpected(format!("a delivery's stage is broken: {error}")))?;
    let result = parts.views.read_result(&delivery.task, &delivery.node, end).await?;
    let reuse = RawValue::from_string(delivery.reuse.clone())
        .map_err(|error| StoreError::Unexpected(format!("a delivery's reuse_info is broken: {error}")))?;
    let body = Body {
        task_id: delivery.task.as_str(),
        status: delivery.status.as_str(),
        result: &result,
        reuse_info: &reuse,
        minio_files: result.minio_files.as_deref(),
        timestamp: parts.store.now(),
    };
    let text = serde_json::to_string(&body).expect("a node result can be written as JSON");
    // Each try sends the same bytes under the same id.
    Ok(parts.store.outbox_body(&delivery.id, text).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wait: Option<u64>, gone: bool) -> CallbackAnswer {
        CallbackAnswer::Refused {
            status: Some(500),
            detail: "answered 500".into(),
            wait: wait.map(Duration::from_secs),
            gone,
            contact: Contact::Answered,
        }
    }

    #[test]
    fn c4_there_are_as_many_tries_as_waits_with_a_tenth_of_jitter() {
        let schedule = [0, 5, 60, 300, 1800].map(Duration::from_secs);
        for (before, seconds) in [(0, 5.0), (1, 60.0), (2, 300.0), (3, 1800.0)] {
            for _ in 0..50 {
                let tried = outcome(refused(None, false), before, &schedule);
                let wait = tried.retry.unwrap().as_secs_f64();
                assert_eq!(tried.state, CallbackStatus::Pending);
                assert!((seconds * 0.9..=seconds * 1.1).contains(&wait), "{wait}");
            }
        }
        let last = outcome(refused(None, false), 4, &schedule);
        assert_eq!((last.state, last.retry), (CallbackStatus::Failed, None));
    }

    #[test]
    fn c4_a_receiver_can_ask_for_a_longer_wait_but_not_for_more_tries() {
        let schedule = [0, 5].map(Duration::from_secs);
        let longer = outcome(refused(Some(90), false), 0, &schedule);
        assert_eq!(longer.retry, Some(Duration::from_secs(90)));
        assert!(outcome(refused(Some(1), false), 0, &schedule).retry > Some(Duration::from_secs(4)));
        assert_eq!(
            outcome(refused(Some(1), false), 1, &schedule).state,
            CallbackStatus::Failed
        );
        assert_eq!(outcome(refused(None, true), 0, &schedule).state, CallbackStatus::Failed);
    }
}
