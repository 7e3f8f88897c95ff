//! Repairs what is damaged in Redis: a field that a record can do without is removed, what cannot be read is set aside under
//! another name. This reads the whole keyspace, for `onceoverd check --repair` alone.

use std::collections::{BTreeSet, HashMap};

use onceover_types::TaskId;
use redis::FromRedisValue;

use super::{Store, StoreError, args::script_call, outbox};

script_call! {
    MendCall<'a>: MEND {
        task: &'a TaskId,
        keep_seconds: u64,
        aside_prefix: &'a str,
    }
}

script_call! {
    MendDeliveryCall<'a>: MEND_DELIVERY {
        id: &'a str,
        keep_seconds: u64,
        aside_prefix: &'a str,
    }
}

/// What keys that are set aside begin with.
const ASIDE: &str = "onceover:damaged:";
/// How long they are kept: a week.
const KEEP_SECONDS: u64 = 7 * 86_400;
/// What the keys of deliveries begin with.
const DELIVERY: &str = "onceover:delivery:";
/// Deliveries that are read at a time.
const CHUNK: usize = 1000;

impl Store {
    /// Repairs everything. Returns what was done, in words.
    pub async fn mend(&self) -> Result<Vec<String>, StoreError> {
        let mut done = Vec::new();
        let mut tasks = BTreeSet::new();
        for prefix in ["onceover:task:", "onceover:stage:"] {
            for key in self.keys_of(prefix).await? {
                let task = key[prefix.len()..].split(':').next().unwrap_or_default();
                tasks.extend(TaskId::parse(task));
            }
        }
        for task in &tasks {
            let call = MendCall {
                task,
                keep_seconds: KEEP_SECONDS,
                aside_prefix: ASIDE,
            };
            done.extend(self.call::<Vec<String>>(call.prepare(self)).await?);
        }
        for (id, why) in self.damaged_deliveries().await? {
            let call = MendDeliveryCall {
                id: &id,
                keep_seconds: KEEP_SECONDS,
                aside_prefix: ASIDE,
            };
            let aside: Option<String> = self.call(call.prepare(self)).await?;
            done.extend(aside.map(|aside| format!("callback {id} ({why}) is set aside as {aside}")));
        }
        Ok(done)
    }

    /// Finds deliveries that cannot be read, and why.
    async fn damaged_deliveries(&self) -> Result<Vec<(String, String)>, StoreError> {
        let keys: Vec<_> = self.keys_of(DELIVERY).await?.into_iter().collect();
        let mut damaged = Vec::new();
        for some in keys.chunks(CHUNK) {
            let mut pipe = redis::pipe();
            for key in some {
                pipe.cmd("HGETALL").arg(key);
            }
            for (key, answer) in some.iter().zip(self.send_plain(pipe).await?) {
                let id = &key[DELIVERY.len()..];
                let fields = answer.and_then(|value| Ok(HashMap::<String, String>::from_redis_value(value)?));
                let why = match fields {
                    // It has expired since.
                    Ok(fields) if fields.is_empty() => continue,
                    Ok(fields) => outbox::show_delivery(id, &fields).err().map(|error| error.to_string()),
                    Err(error) => Some(error.to_string()),
                };
                damaged.extend(why.map(|why| (id.to_owned(), why)));
            }
        }
        Ok(damaged)
    }

    async fn keys_of(&self, prefix: &str) -> Result<BTreeSet<String>, StoreError> {
        let mut found = BTreeSet::new();
        let mut next = Some(0);
        while let Some(from) = next {
            let (keys, then) = self.scan_keys(prefix, None, from).await?;
            found.extend(keys);
            next = then;
        }
        Ok(found)
    }
}
