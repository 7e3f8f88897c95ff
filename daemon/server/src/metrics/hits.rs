//! Hits that have saved time: the metrics of a node are found by its name.

use prometheus_client::metrics::counter::Counter;

use super::{Seconds, known::KnownMetrics};

/// The hits of one node, and the time that they saved.
pub(super) struct HitMetric {
    pub(super) count: Counter,
    pub(super) saved: Seconds,
}

/// The metrics of hits, by node.
#[derive(Default)]
pub(super) struct HitMetrics(KnownMetrics<HitMetric>);

impl HitMetrics {
    /// Counts a hit. `make` gives the metrics of a node that had none before.
    pub(super) fn observe(&self, node: &str, seconds: f64, make: impl FnOnce() -> HitMetric) {
        self.0.count(node, |_| true, make, |metric| metric.observe(seconds));
    }
}

impl HitMetric {
    fn observe(&self, seconds: f64) {
        self.count.inc();
        self.saved.inc_by(seconds);
    }
}
