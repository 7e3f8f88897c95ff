//! The sizes of a simulation: few tasks and nodes, so that clients, daemons and faults meet, and short times.

use std::time::Duration;

pub(super) const TASKS: [&str; 3] = ["t1", "t2", "t3"];
pub(super) const NODES: [&str; 3] = ["sim.first", "sim.second", "sim.gpu"];

/// How long a run is held for an owner that is not heard of.
pub(super) const LEASE: Duration = Duration::from_secs(15);
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a finished stage is kept; longer than any simulation, so that the time of the real Redis does not count.
pub(super) const TTL: Duration = Duration::from_secs(86_400);
/// Daemons at a time.
pub(super) const DAEMONS: usize = 3;

/// Waits before each try of a callback.
pub(super) const SCHEDULE: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// How long everything may take to come to rest once nothing is broken any more.
pub(super) const REST: Duration = Duration::from_secs(20 * 60);
/// How long a callback to a receiver that answers may take from its run's end, where nothing is broken.
pub(super) const PROMPT: Duration = Duration::from_secs(10);

/// The nodes, as files of a catalog.
pub(super) fn node_files() -> Vec<(String, String)> {
    NODES
        .iter()
        .map(|name| {
            let queue = if name.ends_with("gpu") { "gpu" } else { "cpu" };
            let text = format!(
                "name = '{name}'\nqueue = '{queue}'\nrunner = {{ command = ['/bin/true'] }}\n\
                 [[parameters]]\nname = 'text'\ntype = 'string'\n\
                 [[outputs]]\nname = 'made'\ntype = 'boolean'\n"
            );
            (format!("{name}.toml"), text)
        })
        .collect()
}
