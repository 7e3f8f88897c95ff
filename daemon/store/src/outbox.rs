//! The outbox: callbacks to be delivered, and the outcome of each.

use std::{collections::HashMap, time::Duration};

use onceover_types::{CallbackStatus, NodeName, RunId, TaskId, TaskStatus, Timestamp};
use onceover_wire::CallbackDelivery;

use super::{
    Store, StoreError,
    args::{Json, named_argument, script_call},
    reply::{convert_value, parse_cursor, parse_text, reply_struct, unexpected},
};
use onceover_limits::Limit;

script_call! {
    TakeCall<'a>: OUTBOX_TAKE {
        free: usize,
        places: usize,
        per_host: usize,
        busy: Json<'a, HashMap<String, usize>>,
        breaker_after: u32,
        hold_ms: Duration,
        longest_ms: Duration,
        owner: &'a str,
    }
}

script_call! {
    BodyCall<'a>: OUTBOX_BODY {
        id: &'a str,
        body: Option<&'a str>,
    }
}

script_call! {
    TellCall: OUTBOX_TELL {
        count: usize,
    }
}

script_call! {
    DoneCall<'a>: OUTBOX_DONE {
        id: &'a str,
        take: u64,
        state: CallbackStatus,
        retry_ms: Option<Duration>,
        detail: &'a str,
        http_status: Option<u16>,
        keep: u64,
        contact: Contact,
        breaker_after: u32,
        breaker_ms: Duration,
    }
}

script_call! {
    ReleaseHeldCall<'a>: OUTBOX_RELEASE {
        owner: &'a str,
    }
}

script_call! {
    RedeliverCall<'a>: OUTBOX_REDELIVER {
        id: &'a str,
    }
}

script_call! {
    DeliveryCall<'a>: DELIVERY {
        id: &'a str,
    }
}

script_call! {
    DeliveriesCall<'a>: DELIVERIES {
        limit: u32,
        /// How many deliveries may be read.
        scan: u32,
        state: Option<CallbackStatus>,
        task: Option<&'a TaskId>,
        before_score: Option<i64>,
        before_id: Option<&'a str>,
    }
}

script_call! {
    RepairOutboxCall: OUTBOX_REPAIR {
        from: i64,
        count: i64,
    }
}

named_argument!(Contact);

reply_struct! {
    TakeReply {
        next_ms: i64,
        /// Ids and fields in turns.
        taken: Vec<redis::Value>,
    }
}

reply_struct! {
    DoneReply {
        outcome: u8,
        deleted: u64,
    }
}

/// A delivery that was taken to be tried.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: String,
    pub url: String,
    /// Host of the URL, without a port.
    pub host: String,
    pub task: TaskId,
    pub node: NodeName,
    /// The run whose end it reports; none for a result of another worker.
    pub run: Option<String>,
    /// How the run ended.
    pub status: TaskStatus,
    /// `reuse_info` of the request that asked, as JSON; needed until there is a body, as is `stage`.
    pub reuse: String,
    /// The stage as the run left it, as JSON; empty where that is not known any more.
    pub stage: String,
    /// Tries that have ended since the schedule began.
    pub attempts: u32,
    /// Which taking of the delivery this is: an outcome counts only for the newest.
    pub take: u64,
    /// The body that is sent, fixed at the first try.
    pub body: Option<String>,
}

/// How a try of a delivery went.
#[derive(Debug, Clone)]
pub struct Tried {
    pub state: CallbackStatus,
    /// When to try again, while it is pending.
    pub retry: Option<Duration>,
    /// The outcome in words.
    pub detail: String,
    /// HTTP status of the answer, if there was one.
    pub http_status: Option<u16>,
    pub contact: Contact,
}

/// Whether a receiver answers.
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

/// Which callbacks of ended runs were put into the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndsTold {
    /// There were none.
    Nothing,
    /// Some were put there, and more are left.
    Some,
    /// The last ones were put there.
    All,
}

/// How a try was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Not at all: the delivery was deleted, or another daemon has taken it since.
    Gone,
    Done,
    /// Done, and the host has been silent so often now that its breaker was opened.
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
    /// The longest time after which a delivery is due.
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

/// How many deliveries may be under way at a time.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// In total.
    pub places: usize,
    /// Places that are not in use.
    pub free: usize,
    /// Places that one host may use.
    pub per_host: usize,
    /// Deliveries under way here, by host.
    pub busy: &'a HashMap<String, usize>,
}

/// How many deliveries one page may read: a filter that matches nothing must not walk a whole list.
const LIST_SCAN: u32 = 2000;
/// Bytes of a body that is kept for the next try. A larger one is built again for each, so that the input and output in it
/// are not kept once for every callback.
const KEPT_BODY: usize = 16 << 10;
/// Callbacks that one step puts into the outbox.
const TOLD_CHUNK: usize = 200;
/// Deliveries that one step of a repair reads.
const REPAIR_CHUNK: i64 = 200;

impl Store {
    /// Takes deliveries that are due and that there is room for, and holds them for a while. Returns them, and the time until
    /// more may be due.
    pub async fn outbox_take(
        &self,
        owner: &str,
        room: Room<'_>,
        patience: DeliveryPatience,
    ) -> Result<(Vec<Delivery>, Option<Duration>), StoreError> {
        let call = TakeCall {
            free: room.free,
            places: room.places,
            per_host: room.per_host,
            busy: Json(room.busy),
            breaker_after: patience.breaker_after,
            hold_ms: patience.hold,
            longest_ms: patience.longest,
            owner,
        };
        let reply: TakeReply = self.call(call.prepare(self)).await?;
        let next = u64::try_from(reply.next_ms).ok().map(Duration::from_millis);
        Ok((parse_deliveries(reply.taken)?, next))
    }

    /// Fixes the body of a delivery; the first one that is given stays, and is returned. A large one is not kept, and built
    /// again for the next try. None: the delivery does not exist any more.
    pub async fn outbox_body(&self, id: &str, body: String) -> Result<Option<String>, StoreError> {
        let kept = (body.len() <= KEPT_BODY).then_some(body.as_str());
        let call = BodyCall { id, body: kept };
        let counts: Option<String> = self.call(call.prepare(self)).await?;
        Ok(counts.map(|counts| if counts.is_empty() { body } else { counts }))
    }

    /// Puts more callbacks of runs that have ended into the outbox.
    pub async fn tell(&self) -> Result<EndsTold, StoreError> {
        let call = TellCall { count: TOLD_CHUNK };
        Ok(match self.call::<u8>(call.prepare(self)).await? {
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
        let call = DoneCall {
            id: &delivery.id,
            take: delivery.take,
            state: tried.state,
            retry_ms: tried.retry,
            detail: &tried.detail,
            http_status: tried.http_status,
            keep: self.options.keep_callbacks,
            contact: tried.contact,
            breaker_after: patience.breaker_after,
            breaker_ms: patience.breaker_wait,
        };
        let reply: DoneReply = self.call(call.prepare(self)).await?;
        Limit::KeptCallbacks.reached_times(reply.deleted);
        Ok(match reply.outcome {
            0 => Recorded::Gone,
            2 => Recorded::BreakerOpened,
            _ => Recorded::Done,
        })
    }

    /// Makes the deliveries due that a daemon had taken which has ended. Returns their number.
    pub async fn outbox_release(&self, owner: &str) -> Result<u64, StoreError> {
        self.call(ReleaseHeldCall { owner }.prepare(self)).await
    }

    /// Sends a delivery again, from the beginning of its schedule. None: there is no such delivery.
    pub async fn redeliver(&self, id: &str) -> Result<Option<CallbackDelivery>, StoreError> {
        let fields = self.call(RedeliverCall { id }.prepare(self)).await?;
        show_found(id, fields)
    }

    /// Reads one delivery; None where there is none.
    pub async fn delivery(&self, id: &str) -> Result<Option<CallbackDelivery>, StoreError> {
        let fields = self.call(DeliveryCall { id }.prepare(self)).await?;
        show_found(id, fields)
    }

    /// Reads one page of deliveries, newest first, from `after` on.
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
        let call = DeliveriesCall {
            limit,
            scan: LIST_SCAN,
            state: filter.state,
            task: filter.task.as_ref(),
            before_score: after.map(|(score, _)| *score),
            before_id: after.map(|(_, id)| id.as_str()),
        };
        let reply: Vec<redis::Value> = self.call(call.prepare(self)).await?;
        let mut values = reply.into_iter();
        let cursor: String = convert_value(values.next().unwrap_or(redis::Value::Nil))?;
        let next = parse_cursor(&cursor)?;
        let mut items = Vec::new();
        for item in values {
            let (id, fields): (String, HashMap<String, String>) = convert_value(item)?;
            match show_delivery(&id, &fields) {
                Ok(delivery) => items.push(delivery),
                Err(error) => tracing::warn!(callback_id = id, %error, "a callback is damaged"),
            }
        }
        Ok(DeliveryPage { items, next })
    }

    /// Counts the deliveries of a task, whether or not the task itself still exists.
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
            let call = RepairOutboxCall {
                from,
                count: REPAIR_CHUNK,
            };
            from = self.call(call.prepare(self)).await?;
        }
        Ok(())
    }
}

fn parse_deliveries(taken: Vec<redis::Value>) -> Result<Vec<Delivery>, StoreError> {
    let mut taken = taken.into_iter();
    let mut deliveries = Vec::new();
    while let (Some(id), Some(fields)) = (taken.next(), taken.next()) {
        let mut fields: HashMap<String, String> = convert_value(fields)?;
        let id: String = convert_value(id)?;
        let shown = match show_delivery(&id, &fields) {
            Ok(shown) => shown,
            Err(error) => {
                // It stops none of the others.
                tracing::error!(callback_id = id, %error, "a callback is damaged; `onceoverd check --repair` sets it aside");
                continue;
            }
        };
        let mut field = |name: &str| fields.remove(name).unwrap_or_default();
        deliveries.push(Delivery {
            id,
            url: field("url"),
            host: field("host"),
            task: shown.task_id,
            node: shown.task_name,
            run: Some(field("run")).filter(|run| !run.is_empty()),
            status: shown.status,
            reuse: field("reuse"),
            stage: field("stage"),
            attempts: shown.attempts,
            take: parse_text(&field("take"))?,
            body: Some(field("body")).filter(|body| !body.is_empty()),
        });
    }
    Ok(deliveries)
}

fn show_found(id: &str, fields: Option<HashMap<String, String>>) -> Result<Option<CallbackDelivery>, StoreError> {
    fields.map(|fields| show_delivery(id, &fields)).transpose()
}

/// Shows a delivery as the API has it.
pub(super) fn show_delivery(id: &str, fields: &HashMap<String, String>) -> Result<CallbackDelivery, StoreError> {
    let text = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let time = |name: &str| fields.get(name)?.parse().ok().map(Timestamp::from_millis);
    Ok(CallbackDelivery {
        id: id.to_owned(),
        url: text("url").to_owned(),
        task_id: parse_text(text("task"))?,
        task_name: parse_text(text("name"))?,
        run_id: RunId::parse(text("run")).ok(),
        status: parse_text(text("status"))?,
        state: parse_text(text("state"))?,
        attempts: parse_text(text("attempts"))?,
        created_at: time("created").ok_or_else(|| unexpected("a delivery does not say when it was made"))?,
        next_try_at: time("next"),
        last_tried_at: time("tried"),
        detail: fields.get("detail").cloned(),
        http_status: fields.get("http_status").and_then(|status| status.parse().ok()),
        breaker_open_until: time("breaker_until"),
    })
}
