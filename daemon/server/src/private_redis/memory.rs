//! How much memory the private Redis may take.

use crate::machine_load::memory;

/// The share of the machine's memory that it may take where nothing is configured.
const SHARE: u64 = 4;
/// Less would not hold the records of a day.
const LEAST: u64 = 64 << 20;

/// A quarter of what this machine, or the container that this runs in, has. None where that is not known.
pub fn share_of_machine() -> Option<u64> {
    memory::read_total().map(|memory| (memory / SHARE).max(LEAST))
}
