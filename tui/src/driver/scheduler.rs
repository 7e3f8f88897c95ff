//! Decides when to draw and when to wake: frames never come closer than the frame interval, never without a reason, and
//! always show the last state.

use onceover_wire::clock::Clock;
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

    /// Returns when the loop has to go on though nothing has happened; `None` if it does not have to.
    pub fn wake(&self, model: &Model, clock: &Clock) -> Option<Instant> {
        let frame = model.redraw.then_some(self.next_frame);
        let model_wants = model.wake_at().map(|at| {
            let millis = (at.as_millis() - clock.now().as_millis()).clamp(1, 3_600_000);
            Instant::now() + Duration::from_millis(millis as u64)
        });
        frame.into_iter().chain(model_wants).min()
    }

    /// Whether a frame is to be drawn now.
    pub fn is_due(&self, model: &Model) -> bool {
        model.redraw && Instant::now() >= self.next_frame
    }

    /// Notes that a frame was drawn.
    pub fn note_frame(&mut self) {
        self.next_frame = Instant::now() + FRAME_INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use onceover_types::Timestamp;

    use super::*;

    #[test]
    fn d1_a_change_is_drawn_at_most_one_frame_later() {
        let clock = Clock::default();
        let mut model = Model::new("http://localhost:8788", Timestamp::now(), (80, 24));
        let mut scheduler = Scheduler::new();
        model.redraw = true;
        assert!(scheduler.is_due(&model), "nothing was drawn before it");
        scheduler.note_frame();
        model.redraw = false;
        assert_eq!(scheduler.wake(&model, &clock), None, "nothing changes");
        model.redraw = true;
        let wake = scheduler.wake(&model, &clock).expect("something changed");
        assert!(wake <= Instant::now() + FRAME_INTERVAL);
        // The rest of the 50 ms is for the way from Redis.
        assert!(FRAME_INTERVAL < Duration::from_millis(50));
    }
}
