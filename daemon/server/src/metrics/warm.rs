//! What is counted and measured of processes that keep their models. Labels are nodes of the catalog and words of the
//! daemon.

use std::collections::BTreeMap;

use onceover_wire::{WarmProcess, WarmState};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::Node;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WarmStateLabels {
    state: &'static str,
}

/// Counts what becomes of such processes. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct WarmCounts {
    starts: Family<Node, Counter>,
    reuses: Family<Node, Counter>,
    ends: Family<ReasonLabels, Counter>,
    late_lines: Counter,
}

impl WarmCounts {
    /// A process was started.
    pub fn started(&self, node: &str) {
        self.starts.get_or_create(&Node { node: node.to_owned() }).inc();
    }

    /// A run has got a process that was there.
    pub fn reused(&self, node: &str) {
        self.reuses.get_or_create(&Node { node: node.to_owned() }).inc();
    }

    /// A process was ended.
    pub fn ended(&self, reason: &'static str) {
        self.ends.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A line of a run was dropped because the run was over.
    pub fn dropped_late_line(&self) {
        self.late_lines.inc();
    }
}

/// Counts and gauges of such processes.
#[derive(Debug, Default)]
pub(super) struct WarmMetrics {
    pub(super) counts: WarmCounts,
    processes: Family<WarmStateLabels, Gauge>,
    memory: Gauge,
    gpu_memory: Gauge,
}

impl WarmMetrics {
    /// Adds them to the daemon's.
    pub(super) fn register(&self, own: &mut Registry) {
        let warm = own.sub_registry_with_prefix("warm");
        warm.register(
            "starts",
            "Processes that were started to be kept",
            self.counts.starts.clone(),
        );
        warm.register(
            "reuses",
            "Runs that got a process that was kept",
            self.counts.reuses.clone(),
        );
        warm.register("ends", "Processes that were ended, by why", self.counts.ends.clone());
        warm.register(
            "late_lines",
            "Lines of runs that were over, which were dropped",
            self.counts.late_lines.clone(),
        );
        warm.register("processes", "Processes by how they are", self.processes.clone());
        warm.register("memory_bytes", "Memory that they said they have", self.memory.clone());
        warm.register(
            "gpu_memory_bytes",
            "Memory of the GPU that they said they hold",
            self.gpu_memory.clone(),
        );
    }

    /// Sets the gauges to what is known now.
    pub(super) fn set(&self, processes: &[WarmProcess]) {
        let mut counts: BTreeMap<WarmState, i64> = WarmState::ALL.map(|state| (state, 0)).into();
        for process in processes {
            *counts.entry(process.state).or_default() += 1;
        }
        for (state, count) in counts {
            let labels = WarmStateLabels { state: state.as_str() };
            self.processes.get_or_create(&labels).set(count);
        }
        self.memory.set(super::gauge(
            processes.iter().filter_map(|process| process.memory).sum(),
        ));
        self.gpu_memory.set(super::gauge(
            processes.iter().filter_map(|process| process.gpu_memory).sum(),
        ));
    }
}
