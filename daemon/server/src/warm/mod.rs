//! Programs that keep their model between runs. The `pool` knows them all and decides who stays, a `worker` is one of
//! them, `protocol` is what it says beside the lines of a run, and `arbiter` who has to go when memory is short. What a
//! run does with its worker is the executor's business.

mod arbiter;
mod pool;
pub mod protocol;
mod worker;

pub use pool::{Acquired, GpuNeed, Seat, WarmPool, WarmWant};
pub use worker::{EndReason, WarmKey, WarmWorker};
