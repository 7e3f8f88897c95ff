//! How busy this machine is: processors, memory, the disk of the data directory, this process, GPUs. It reads files of the
//! system and asks drivers, so it belongs on a thread that may block. It keeps nothing but what the next reading is compared
//! with.

mod gpu;
pub mod memory;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use onceover_wire::{CapacityUse, GpuLoad, ProcessLoad};
use procfs::{CurrentSI, KernelStats, process::Process};

use gpu::GpuReader;

pub use gpu::read_gpu_memory;

/// Between two readings of the processors whose difference is taken, where there is no earlier one to compare with.
const SHORTEST: Duration = Duration::from_millis(200);
/// A reading that is older says nothing of what goes on now.
const LONGEST: Duration = Duration::from_secs(15);

/// How busy the machine is.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadReading {
    /// Percent of all processors.
    pub cpu_percent: f32,
    pub memory: CapacityUse,
    pub disk: Option<CapacityUse>,
    pub daemon: ProcessLoad,
    pub gpus: Vec<GpuLoad>,
}

/// Reads how busy the machine is, again and again.
#[derive(Debug)]
pub struct LoadReader {
    data: PathBuf,
    before: Option<CpuReading>,
    gpus: GpuReader,
}

/// What the processors have done since the machine was started, in ticks.
#[derive(Debug, Clone, Copy)]
struct CpuReading {
    at: Instant,
    busy: u64,
    total: u64,
    /// Of this process.
    own: u64,
}

impl LoadReader {
    /// Makes a reader for the machine with this data directory.
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            before: None,
            gpus: GpuReader::default(),
        }
    }

    /// Reads how busy the machine is; the processors since the last call, if that is not long ago. Returns `None` where
    /// the system does not tell.
    pub fn read(&mut self) -> Option<LoadReading> {
        let gpus = self.gpus.read();
        let before = match self.before.filter(|before| before.at.elapsed() < LONGEST) {
            Some(before) => before,
            None => {
                let before = read_cpu()?;
                thread::sleep(SHORTEST);
                before
            }
        };
        let now = read_cpu()?;
        self.before = Some(now);
        let elapsed = now.at.duration_since(before.at).as_secs_f64();
        let own_seconds = now.own.saturating_sub(before.own) as f64 / procfs::ticks_per_second() as f64;
        Some(LoadReading {
            cpu_percent: percent(
                now.busy.saturating_sub(before.busy) as f64,
                now.total.saturating_sub(before.total) as f64,
            ),
            memory: memory::read_use()?,
            disk: read_disk(&self.data),
            daemon: ProcessLoad {
                cpu_percent: percent(own_seconds, elapsed),
                resident_bytes: read_resident_memory().unwrap_or_default(),
            },
            gpus,
        })
    }
}

/// Counts the processors that [`LoadReading::cpu_percent`] is of: all of the machine, however few this process may use.
pub fn count_cpus() -> u32 {
    let of_machine = KernelStats::current().map_or(0, |stats| stats.cpu_time.len());
    let count = match of_machine {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Returns the bytes of memory that this process has in use.
pub fn read_resident_memory() -> Option<u64> {
    let stat = Process::myself().and_then(|process| process.stat()).ok()?;
    Some(stat.rss * procfs::page_size())
}

/// A share in percent, with one decimal.
fn percent(part: f64, whole: f64) -> f32 {
    if whole <= 0.0 {
        return 0.0;
    }
    ((part / whole * 1000.0).round() / 10.0) as f32
}

fn read_cpu() -> Option<CpuReading> {
    let cpu = KernelStats::current().ok()?.total;
    let own = Process::myself().and_then(|process| process.stat()).ok()?;
    let waiting = cpu.idle + cpu.iowait.unwrap_or_default();
    // Time of guests is in `user` and `nice` already.
    let busy = cpu.user
        + cpu.nice
        + cpu.system
        + cpu.irq.unwrap_or_default()
        + cpu.softirq.unwrap_or_default()
        + cpu.steal.unwrap_or_default();
    Some(CpuReading {
        at: Instant::now(),
        busy,
        total: busy + waiting,
        own: own.utime + own.stime,
    })
}

/// Returns how full the disk is that a folder is on: what only root may use counts as used.
fn read_disk(folder: &Path) -> Option<CapacityUse> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    Some(CapacityUse {
        used_bytes: total.saturating_sub(free),
        total_bytes: total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_the_machines_figures_and_the_second_one_needs_no_wait() {
        let mut reader = LoadReader::new(Path::new("/"));
        let first = reader.read().expect("this machine tells");
        assert!((0.0..=100.0).contains(&first.cpu_percent), "{first:?}");
        assert!(first.memory.used_bytes > 0 && first.memory.used_bytes <= first.memory.total_bytes);
        let disk = first.disk.expect("the root can be read");
        assert!(disk.used_bytes <= disk.total_bytes && disk.total_bytes > 0);
        assert!(first.daemon.resident_bytes > 1 << 20, "{first:?}");
        assert!(reader.before.is_some(), "the next reading is compared with this one");
        assert!(reader.read().is_some());
    }

    #[test]
    fn all_processors_of_the_machine_count() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let is_cpu = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        assert_eq!(count_cpus() as usize, stat.lines().filter(is_cpu).count());
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert!(percent(1.0, 0.0).abs() < f32::EPSILON);
        assert!((percent(1.0, 3.0) - 33.3).abs() < 0.01);
    }
}
