//! How much memory the private Redis may take.

use std::fs;

/// The share of the machine's memory that it may take where nothing is configured.
const SHARE: u64 = 4;
/// Less would not hold the records of a day.
const LEAST: u64 = 64 << 20;

/// A quarter of what this machine, or the container that this runs in, has. None where that is not known.
pub fn share_of_machine() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text))?;
    let container = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
    .min();
    let memory = container.map_or(machine, |limit| limit.min(machine));
    Some((memory / SHARE).max(LEAST))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read_in_bytes() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree:  1 kB\n"), Some(16_384 * 1024));
        assert_eq!(total("MemFree:  1 kB\n"), None);
    }
}
