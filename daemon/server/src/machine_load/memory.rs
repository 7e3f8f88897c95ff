//! The memory of this machine, or of the container that this runs in, whichever is less.

use std::fs;

use onceover_wire::CapacityUse;
use procfs::{Current, Meminfo};

/// Where a container's limit is, what it uses, and what is known of that by kind: of the second and the first version of
/// control groups.
const CONTAINERS: [(&str, &str, &str); 2] = [
    (
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory.current",
        "/sys/fs/cgroup/memory.stat",
    ),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
];

/// Returns the bytes that there are. Returns `None` where that is not known.
pub fn read_total() -> Option<u64> {
    let machine = Meminfo::current().ok()?.mem_total;
    let container = CONTAINERS.iter().filter_map(|(limit, ..)| read_number(limit)).min();
    Some(container.map_or(machine, |limit| limit.min(machine)))
}

/// Returns how much is used. Files that the system keeps in memory and can drop count as free.
pub fn read_use() -> Option<CapacityUse> {
    let machine = Meminfo::current().ok()?;
    let of_container = CONTAINERS
        .iter()
        .filter_map(|(limit, current, details)| Some((read_number(limit)?, read_number(current)?, details)))
        .find(|(limit, ..)| *limit < machine.mem_total);
    if let Some((limit, current, details)) = of_container {
        let details = fs::read_to_string(details).ok();
        let droppable = details.and_then(|details| find_droppable(&details));
        return Some(CapacityUse {
            used_bytes: current.saturating_sub(droppable.unwrap_or_default()),
            total_bytes: limit,
        });
    }
    let free = machine.mem_available.unwrap_or(machine.mem_free);
    Some(CapacityUse {
        used_bytes: machine.mem_total.saturating_sub(free),
        total_bytes: machine.mem_total,
    })
}

/// Reads a file with one number; `None` where there is none, as `max` for no limit.
fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Finds the bytes of files that were not used for a while.
fn find_droppable(details: &str) -> Option<u64> {
    let line = details.lines().find_map(|line| line.strip_prefix("inactive_file "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_droppable_files_are_found_by_name() {
        assert_eq!(
            find_droppable("anon 5\ninactive_file 4096\nactive_file 7\n"),
            Some(4096)
        );
        assert_eq!(find_droppable("anon 5\n"), None);
    }

    #[test]
    fn what_is_used_is_part_of_what_there_is() {
        let used = read_use().expect("this machine tells");
        assert!(used.used_bytes <= used.total_bytes, "{used:?}");
        assert_eq!(read_total(), Some(used.total_bytes));
    }
}
