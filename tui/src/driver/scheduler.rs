//! When to draw and when to wake: never closer than the frame interval, never without a reason, and
//! always the last state.

use onceover_common::clock::Clock;
use tokio::time::{Duration, Instant};

use crate::model::Model;

const FRAME_INTERVAL: Duration = Duration::from_millis(33);

pub struct Scheduler {
    /// When the next frame may be drawn.
    next_frame: Instant,
}

impl Scheduler {
    pub fn new() -> Self {
        Self {
            next_frame: Instant::now(),
        }
    }

    /// When the loop has to go on though nothing happened; None: it need not.
    pub fn wake(&self, model: &Model, clock: &Clock) -> Option<Instant> {
        let frame = model.redraw.then_some(self.next_frame);
        let model_wants = model.wake_at().map(|at| {
            let millis = (at.as_millis() - clock.now().as_millis()).clamp(1, 3_600_000);
            Instant::now() + Duration::from_millis(millis as u64)
        });
        frame.into_iter().chain(model_wants).min()
    }

    pub fn is_due(&self, model: &Model) -> bool {
        model.redraw && Instant::now() >= self.next_frame
    }

    pub fn drawn(&mut self) {
        self.next_frame = Instant::now() + FRAME_INTERVAL;
    }
}
