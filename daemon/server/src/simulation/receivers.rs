//! Receivers of callbacks: what each host answers, and what it has received.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use onceover_store::{Contact, Delivery};
use tokio::time::sleep;

use super::world::{DaemonStart, World};
use crate::webhooks::send::{CallbackAnswer, Courier};

/// A host that answers at once.
pub(super) const GOOD: &str = "good.test";
/// One that refuses the first two tries of each callback.
pub(super) const UNSTEADY: &str = "unsteady.test";
/// One that never answers.
pub(super) const SILENT: &str = "silent.test";

/// How long a try waits for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// What a receiver has taken: each callback's URL with the statuses that it reported.
pub(super) type Received = BTreeMap<String, Vec<String>>;

/// Takes the deliveries of one start of a daemon to receivers.
pub(super) struct SimulatedCourier {
    pub(super) world: Arc<World>,
    pub(super) owner: DaemonStart,
}

impl SimulatedCourier {
    async fn answer(&self, delivery: &Delivery) -> CallbackAnswer {
        if delivery.host == SILENT {
            sleep(TIMEOUT).await;
            return refused(None, Contact::Silent);
        }
        let latency = self.world.numbers_of(&delivery.id).u64(1..200);
        sleep(Duration::from_millis(latency)).await;
        if !self.world.state().is_alive(self.owner) {
            // It was killed meanwhile.
            return std::future::pending().await;
        }
        if delivery.host == UNSTEADY && delivery.attempts < 2 {
            return refused(Some(503), Contact::Answered);
        }
        self.world.note(format!("{} gets {}", delivery.url, delivery.status));
        let mut state = self.world.state();
        let told = state.received.entry(delivery.url.clone()).or_default();
        told.push(delivery.status.as_str().to_owned());
        CallbackAnswer::Accepted { status: 200 }
    }
}

fn refused(status: Option<u16>, contact: Contact) -> CallbackAnswer {
    CallbackAnswer::Refused {
        status,
        detail: "as simulated".into(),
        wait: None,
        gone: false,
        contact,
    }
}

impl Courier for SimulatedCourier {
    fn send<'a>(&'a self, delivery: &'a Delivery, _body: String) -> BoxFuture<'a, CallbackAnswer> {
        if !self.world.state().is_alive(self.owner) {
            return Box::pin(std::future::pending());
        }
        self.world
            .note(format!("daemon {} tries {}", self.owner.daemon, delivery.url));
        Box::pin(self.answer(delivery))
    }
}
