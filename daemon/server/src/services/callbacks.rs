//! Callbacks as they are delivered: read, listed, sent again.

use onceover_store::{DeliveryFilter, Store};
use onceover_types::{CallbackStatus, TaskId};
use onceover_wire::CallbackDelivery;

use super::{
    ServiceError,
    lists::{ListRange, Listed},
};
use crate::events::EventBus;

/// Which callbacks a list has.
#[derive(Debug, Default)]
pub struct ListedCallbacks {
    /// Only those that are this.
    pub state: Option<CallbackStatus>,
    /// Only those of this task.
    pub task: Option<TaskId>,
}

/// Reads callbacks, and sends them again.
pub struct Callbacks {
    store: Store,
    bus: EventBus,
}

impl Callbacks {
    pub fn new(store: Store, bus: EventBus) -> Self {
        Self { store, bus }
    }

    /// Reads one callback.
    pub async fn read_callback(&self, id: &str) -> Result<CallbackDelivery, ServiceError> {
        let found = match is_callback_id(id) {
            true => self.store.delivery(id).await?,
            false => None,
        };
        found.ok_or_else(|| ServiceError::UnknownCallback(shortened(id)))
    }

    /// Lists callbacks, newest first.
    pub async fn list_callbacks(
        &self,
        wanted: ListedCallbacks,
        range: &ListRange<String>,
    ) -> Result<Listed<CallbackDelivery, String>, ServiceError> {
        let ListedCallbacks { state, task } = wanted;
        let filter = DeliveryFilter { state, task };
        let found = self
            .store
            .deliveries(&filter, range.limit, range.after.as_ref())
            .await?;
        Ok(Listed {
            items: found.items,
            next: found.next,
        })
    }

    /// Sends a callback again, whether it was sent, given up or is still pending.
    pub async fn redeliver_callback(&self, id: &str) -> Result<CallbackDelivery, ServiceError> {
        let found = match is_callback_id(id) {
            true => self.store.redeliver(id).await?,
            false => None,
        };
        let found = found.ok_or_else(|| ServiceError::UnknownCallback(shortened(id)))?;
        self.bus.outbox_grew();
        Ok(found)
    }
}

/// Longest id of a callback that there can be: two of its parts are a UUID and half a hash.
const CALLBACK_ID_MAX: usize = 64;

fn is_callback_id(text: &str) -> bool {
    (1..=CALLBACK_ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn shortened(id: &str) -> String {
    id.chars().take(CALLBACK_ID_MAX).collect()
}
