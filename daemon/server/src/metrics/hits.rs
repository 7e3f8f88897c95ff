//! Hits that have saved time: the metrics of a node are found by its name, so that labels are made for the first hit
//! alone.

use std::{collections::HashMap, sync::RwLock};

use prometheus_client::metrics::counter::Counter;

use super::Seconds;

/// The hits of one node, and the time that they saved.
pub(super) struct HitMetric {
    pub(super) count: Counter,
    pub(super) saved: Seconds,
}

/// The metrics of hits, by node.
#[derive(Default)]
pub(super) struct HitMetrics(RwLock<HashMap<String, HitMetric>>);

impl HitMetrics {
    /// Counts a hit. `make` gives the metrics of a node that had none before.
    pub(super) fn observe(&self, node: &str, seconds: f64, make: impl FnOnce() -> HitMetric) {
        let known = self.0.read().expect("no thread panics with the metrics of hits");
        if let Some(metric) = known.get(node) {
            metric.observe(seconds);
            return;
        }
        drop(known);
        let metric = make();
        metric.observe(seconds);
        let mut known = self.0.write().expect("no thread panics with the metrics of hits");
        known.entry(node.to_owned()).or_insert(metric);
    }
}

impl HitMetric {
    fn observe(&self, seconds: f64) {
        self.count.inc();
        self.saved.inc_by(seconds);
    }
}
