//! Metrics that are found by the name of what they measure, so that labels are made for the first count alone.

use std::{collections::HashMap, sync::RwLock};

/// The metrics so far, some for each name.
pub(super) struct KnownMetrics<M>(RwLock<HashMap<String, Vec<M>>>);

impl<M> Default for KnownMetrics<M> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<M> KnownMetrics<M> {
    /// Counts with those metrics of a name that `is_it` picks. `make` gives them where there were none before.
    pub(super) fn count(
        &self,
        name: &str,
        is_it: impl Fn(&M) -> bool,
        make: impl FnOnce() -> M,
        count: impl FnOnce(&M),
    ) {
        let known = self.0.read().expect("no thread panics with the known metrics");
        let metric = known
            .get(name)
            .and_then(|metrics| metrics.iter().find(|metric| is_it(metric)));
        if let Some(metric) = metric {
            count(metric);
            return;
        }
        drop(known);
        let metric = make();
        count(&metric);
        let mut known = self.0.write().expect("no thread panics with the known metrics");
        let metrics = known.entry(name.to_owned()).or_default();
        if !metrics.iter().any(is_it) {
            metrics.push(metric);
        }
    }
}
