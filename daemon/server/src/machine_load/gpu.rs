//! What NVML tells of the GPUs. It is loaded at run time: where it is not there, there are no GPUs. It is asked on a
//! separate thread, because a call into a driver that hangs never comes back: then readings have no GPUs.

use std::{
    ffi::OsStr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use nvml_wrapper::{Nvml, enum_wrappers::device::TemperatureSensor, error::NvmlError};
use onceover_wire::{CapacityUse, GpuLoad};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// GPUs of which readings tell.
const MOST_GPUS: u32 = 16;
/// What the library is called where only the driver is installed.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// Asks NVML, if there is one.
#[derive(Debug, Default)]
pub(super) struct GpuReader {
    /// Made with the first reading.
    thread: Option<GpuThread>,
}

#[derive(Debug)]
struct GpuThread {
    questions: SyncSender<()>,
    answers: Receiver<Vec<GpuLoad>>,
}

impl GpuReader {
    /// Reads the GPUs. Returns none where there is no NVML, and where it does not answer in time.
    pub(super) fn read(&mut self) -> Vec<GpuLoad> {
        let thread = self.thread.get_or_insert_with(GpuThread::start);
        // Answers that came too late are old.
        while thread.answers.try_recv().is_ok() {}
        // Full: the thread hangs in the driver. Closed: there is no NVML.
        if thread.questions.try_send(()).is_err() {
            return Vec::new();
        }
        thread.answers.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

impl GpuThread {
    fn start() -> Self {
        let (questions, asked) = sync_channel(1);
        let (answer, answers) = sync_channel(2);
        let started = thread::Builder::new()
            .name("gpus".into())
            .spawn(move || answer_questions(&asked, &answer));
        if let Err(error) = started {
            tracing::debug!(%error, "no thread for GPUs");
        }
        Self { questions, answers }
    }
}

/// Answers until nobody asks any more. Returns at once where there is no NVML.
fn answer_questions(asked: &Receiver<()>, answer: &SyncSender<Vec<GpuLoad>>) {
    let nvml = match Nvml::init().or_else(|_| Nvml::builder().lib_path(OsStr::new(LIBRARY)).init()) {
        Ok(nvml) => nvml,
        Err(error) => return tracing::debug!(%error, "no GPUs: NVML cannot be used"),
    };
    while asked.recv().is_ok() {
        let gpus = read_gpus(&nvml).unwrap_or_else(|error| {
            tracing::debug!(%error, "GPUs not read");
            Vec::new()
        });
        // Full: the answers before were not waited for, and this one will not be either.
        let _ = answer.try_send(gpus);
    }
}

fn read_gpus(nvml: &Nvml) -> Result<Vec<GpuLoad>, NvmlError> {
    let count = nvml.device_count()?.min(MOST_GPUS);
    (0..count).map(|index| read_gpu(nvml, index)).collect()
}

/// Returns the bytes of memory that the smallest GPU has; `None` where there is none, or it does not answer in time. Blocks.
pub fn read_gpu_memory() -> Option<u64> {
    let gpus = GpuReader::default().read();
    gpus.iter().map(|gpu| gpu.memory.total_bytes).min()
}

fn read_gpu(nvml: &Nvml, index: u32) -> Result<GpuLoad, NvmlError> {
    let device = nvml.device_by_index(index)?;
    let memory = device.memory_info()?;
    Ok(GpuLoad {
        name: device.name()?,
        // Some cards, and parts of divided ones, do not tell.
        use_percent: device.utilization_rates().map_or(0.0, |rates| rates.gpu as f32),
        memory: CapacityUse {
            used_bytes: memory.used,
            total_bytes: memory.total,
        },
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_hangs_leaves_readings_without_gpus() {
        let (questions, _asked) = sync_channel(1);
        let (_answer, answers) = sync_channel::<Vec<GpuLoad>>(2);
        let mut reader = GpuReader {
            thread: Some(GpuThread { questions, answers }),
        };
        assert!(reader.read().is_empty(), "the first one waits for a while");
        let begun = std::time::Instant::now();
        assert!(reader.read().is_empty(), "the next one does not even ask");
        assert!(begun.elapsed() < PATIENCE / 2);
    }
}
