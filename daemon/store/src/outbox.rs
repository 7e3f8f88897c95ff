//! The outbox: callbacks to be delivered, and what became of them.

use std::{collections::HashMap, time::Duration};

use onceover_types::{CallbackStatus, NodeName, RunId, TaskId, Timestamp};
use onceover_wire::CallbackDelivery;

use super::{
    Store, StoreError,
    record::{convert, parse, unexpected},
    scripts,
};
use onceover_limits::Limit;

/// One delivery, taken to be tried.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub url: String,
    /// Host of the URL, without a port.
    pub host: String,
    pub task: TaskId,
    pub node: NodeName,
    /// The run it tells of; none of a hit.
    pub run: Option<String>,
    /// completed, failed or cancelled.
    pub status: String,
    /// `reuse_info` of the request that asked, as JSON; needed until there is a body, as is `stage`.
    pub reuse: String,
    /// The stage as the run left it, as JSON; empty where that is known no more.
    pub stage: String,
    /// Tries ended since the schedule began.
    pub attempts: u32,
    /// Which taking of the delivery this is: an outcome counts only for the newest.
    pub take: u64,
    /// What is sent, fixed at the first try.
    pub body: Option<String>,
}

/// How a try of a delivery went.
#[derive(Debug, Clone)]
pub struct Tried {
    pub state: CallbackStatus,
    /// When to try again, while it is pending.
    pub retry: Option<Duration>,
    /// In words, for people.
    pub detail: String,
    /// HTTP status of the answer, if there was one.
    pub http_status: Option<u16>,
    pub contact: Contact,
}

/// Whether a receiver is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It answered, whatever it said.
    Answered,
    /// It took no connection, or did not answer in time.
    Silent,
    /// It was not asked.
    NotAsked,
}

impl Contact {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Silent => "silent",
            Self::NotAsked => "none",
        }
    }
}

/// What was left of the callbacks of ended runs that are not in the outbox yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndsTold {
    /// There were none.
    Nothing,
    /// Some were put there, and more are left.
    Some,
    /// The last ones were put there.
    All,
}

/// What became of the record of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// The delivery is gone, or was taken by somebody else since.
    Gone,
    Done,
    /// Done, and the host has been silent so often now that it is left alone for a while.
    BreakerOpened,
}

/// How receivers are treated, beside the limits of [`Room`].
#[derive(Debug, Clone, Copy)]
pub struct DeliveryPatience {
    /// Silences in a row that open a host's breaker.
    pub breaker_after: u32,
    /// How long a breaker is open at first; longer, the longer the host is silent.
    pub breaker_wait: Duration,
    /// How long a daemon may take for a try and its record.
    pub hold: Duration,
    /// Nothing is due later than that from now.
    pub longest: Duration,
}

/// Filters of a list of deliveries.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub state: Option<CallbackStatus>,
    pub task: Option<TaskId>,
}

/// A page of deliveries.
pub struct DeliveryPage {
    pub items: Vec<CallbackDelivery>,
    pub next: Option<(i64, String)>,
}

/// What may be under way at a time.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// In all.
    pub places: usize,
    /// Of these, not in use.
    pub free: usize,
    pub per_host: usize,
    /// Deliveries under way here, by host.
    pub busy: &'a HashMap<String, usize>,
}

/// How many deliveries one page may look at: a filter that matches nothing must not walk a whole list.
const LIST_SCAN: u32 = 2000;
/// Bytes of a body that is kept for the next try. A larger one is put together again from what it tells of, so that the
/// input and output in it are not kept once for every callback.
const KEPT_BODY: usize = 16 << 10;
/// Callbacks that one step puts into the outbox.
const TOLD_CHUNK: usize = 200;
/// Deliveries that one step of a repair looks at.
const REPAIR_CHUNK: i64 = 200;

impl Store {
    /// Deliveries that are due and that there is room for, held for a while; and the time until more may be due.
    pub async fn outbox_take(
        &self,
        owner: &str,
        room: Room<'_>,
        patience: DeliveryPatience,
    ) -> Result<(Vec<Delivery>, Option<Duration>), StoreError> {
        let args = self
            .args()
            .with("free", room.free.to_string())
            .with("places", room.places.to_string())
            .with("per_host", room.per_host.to_string())
            .with("busy", serde_json::json!(room.busy).to_string())
            .with("breaker_after", patience.breaker_after.to_string())
            .with("hold_ms", patience.hold.as_millis().to_string())
            .with("longest_ms", patience.longest.as_millis().to_string())
            .with("owner", owner);
        let (next_ms, taken): (i64, Vec<redis::Value>) = self.run(&scripts::OUTBOX_TAKE, args).await?;
        let next = u64::try_from(next_ms).ok().map(Duration::from_millis);
        Ok((deliveries(taken)?, next))
    }

    /// Fixes what a delivery sends; the first body given stays. One that is large is not kept, and put together again for the
    /// next try. None: the delivery is gone.
    pub async fn outbox_body(&self, id: &str, body: String) -> Result<Option<String>, StoreError> {
        let kept = (body.len() <= KEPT_BODY).then_some(body.as_str());
        let args = self.args().with("id", id).with_some("body", kept);
        let counts: Option<String> = self.run(&scripts::OUTBOX_BODY, args).await?;
        Ok(counts.map(|counts| if counts.is_empty() { body } else { counts }))
    }

    /// Puts more callbacks of runs that have ended into the outbox.
    pub async fn tell(&self) -> Result<EndsTold, StoreError> {
        let args = self.args().with("count", TOLD_CHUNK.to_string());
        Ok(match self.run::<u8>(&scripts::OUTBOX_TELL, args).await? {
            0 => EndsTold::Nothing,
            1 => EndsTold::All,
            _ => EndsTold::Some,
        })
    }

    /// Records how a try went.
    pub async fn outbox_done(
        &self,
        delivery: &Delivery,
        tried: &Tried,
        patience: DeliveryPatience,
    ) -> Result<Recorded, StoreError> {
        let args = self
            .args()
            .with("id", delivery.id.as_str())
            .with("take", delivery.take.to_string())
            .with("state", tried.state.as_str())
            .with_some("retry_ms", tried.retry.map(|wait| wait.as_millis().to_string()))
            .with("detail", tried.detail.as_str())
            .with_some("http_status", tried.http_status.map(|status| status.to_string()))
            .with("keep", self.options.keep_callbacks.to_string())
            .with("contact", tried.contact.as_str())
            .with("breaker_after", patience.breaker_after.to_string())
            .with("breaker_ms", patience.breaker_wait.as_millis().to_string());
        let (outcome, forgotten): (u8, u64) = self.run(&scripts::OUTBOX_DONE, args).await?;
        Limit::KeptCallbacks.reached_times(forgotten);
        Ok(match outcome {
            0 => Recorded::Gone,
            2 => Recorded::BreakerOpened,
            _ => Recorded::Done,
        })
    }

    /// Gives back what a daemon had taken that is known to be gone.
    pub async fn outbox_release(&self, owner: &str) -> Result<u64, StoreError> {
        self.run(&scripts::OUTBOX_RELEASE, self.args().with("owner", owner))
            .await
    }

    /// Sends a delivery again, from the beginning of its schedule. None: there is no such delivery.
    pub async fn redeliver(&self, id: &str) -> Result<Option<CallbackDelivery>, StoreError> {
        let fields = self.run(&scripts::OUTBOX_REDELIVER, self.args().with("id", id)).await?;
        shown_as(id, fields)
    }

    /// One delivery; None where there is none.
    pub async fn delivery(&self, id: &str) -> Result<Option<CallbackDelivery>, StoreError> {
        let fields = self.run(&scripts::DELIVERY, self.args().with("id", id)).await?;
        shown_as(id, fields)
    }

    /// One page of deliveries, newest first, from `after` on.
    pub async fn deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
        after: Option<&(i64, String)>,
    ) -> Result<DeliveryPage, StoreError> {
        let mut page = self.some_deliveries(filter, limit, after).await?;
        // A page is not empty while there is more.
        while page.items.is_empty()
            && let Some(next) = page.next.take()
        {
            page = self.some_deliveries(filter, limit, Some(&next)).await?;
        }
        Ok(page)
    }

    async fn some_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
        after: Option<&(i64, String)>,
    ) -> Result<DeliveryPage, StoreError> {
        let args = self
            .args()
            .with("limit", limit.to_string())
            .with("scan", LIST_SCAN.to_string())
            .with_some("state", filter.state.map(CallbackStatus::as_str))
            .with_some("task", filter.task.as_ref().map(TaskId::as_str))
            .with_some("before_score", after.map(|(score, _)| score.to_string()))
            .with_some("before_id", after.map(|(_, id)| id.as_str()));
        let mut answer = self
            .run::<Vec<redis::Value>>(&scripts::DELIVERIES, args)
            .await?
            .into_iter();
        let cursor: String = convert(answer.next().unwrap_or(redis::Value::Nil))?;
        let next = match cursor.split_once(':') {
            Some((score, id)) => Some((parse(score)?, id.to_owned())),
            None => None,
        };
        let mut items = Vec::new();
        for item in answer {
            let (id, fields): (String, HashMap<String, String>) = convert(item)?;
            match shown(&id, &fields) {
                Ok(delivery) => items.push(delivery),
                Err(error) => tracing::warn!(callback_id = id, %error, "a callback is damaged"),
            }
        }
        Ok(DeliveryPage { items, next })
    }

    /// How many deliveries a task has, whether or not the task itself is still there.
    pub async fn deliveries_of(&self, task: &TaskId) -> Result<usize, StoreError> {
        let filter = DeliveryFilter {
            task: Some(task.clone()),
            state: None,
        };
        Ok(self.deliveries(&filter, 1, None).await?.items.len())
    }

    /// Completes the lists of pending deliveries.
    pub(super) async fn repair_outbox(&self) -> Result<(), StoreError> {
        let mut from = 0i64;
        while from >= 0 {
            let args = self
                .args()
                .with("from", from.to_string())
                .with("count", REPAIR_CHUNK.to_string());
            from = self.run(&scripts::OUTBOX_REPAIR, args).await?;
        }
        Ok(())
    }
}

fn deliveries(taken: Vec<redis::Value>) -> Result<Vec<Delivery>, StoreError> {
    let mut taken = taken.into_iter();
    let mut deliveries = Vec::new();
    while let (Some(id), Some(fields)) = (taken.next(), taken.next()) {
        let mut fields: HashMap<String, String> = convert(fields)?;
        let id: String = convert(id)?;
        let shown = shown(&id, &fields);
        if let Err(error) = shown {
            // It stops none of the others.
            tracing::error!(callback_id = id, %error, "a callback is damaged; `onceoverd check --repair` sets it aside");
            continue;
        }
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        deliveries.push(Delivery {
            id,
            url: field("url"),
            host: field("host"),
            task: parse(&field("task"))?,
            node: parse(&field("name"))?,
            run: Some(field("run")).filter(|run| !run.is_empty()),
            status: field("status"),
            reuse: field("reuse"),
            stage: field("stage"),
            attempts: parse(&field("attempts"))?,
            take: parse(&field("take"))?,
            body: Some(field("body")).filter(|body| !body.is_empty()),
        });
    }
    Ok(deliveries)
}

fn shown_as(id: &str, fields: Option<HashMap<String, String>>) -> Result<Option<CallbackDelivery>, StoreError> {
    fields.map(|fields| shown(id, &fields)).transpose()
}

/// A delivery as the API shows it.
pub(super) fn shown(id: &str, fields: &HashMap<String, String>) -> Result<CallbackDelivery, StoreError> {
    let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let time = |name: &str| fields.get(name)?.parse().ok().map(Timestamp::from_millis);
    Ok(CallbackDelivery {
        id: id.to_owned(),
        url: text("url").to_owned(),
        task_id: parse(text("task"))?,
        task_name: parse(text("name"))?,
        run_id: RunId::parse(text("run")).ok(),
        status: parse(text("status"))?,
        state: parse(text("state"))?,
        attempts: parse(text("attempts"))?,
        created_at: time("created").ok_or_else(|| unexpected("a delivery does not say when it was made"))?,
        next_try_at: time("next"),
        last_tried_at: time("tried"),
        detail: fields.get("detail").cloned(),
        http_status: fields.get("http_status").and_then(|status| status.parse().ok()),
        breaker_open_until: time("breaker_until"),
    })
}
