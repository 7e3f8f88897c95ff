//! Where clips of speech lie on the clock, and how fast they are played to fit.

/// Seconds between the end of a clip and the start of the next.
const BREATH: f64 = 0.1;

/// What may be done to a clip so that it fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct StretchLimits {
    /// How slow and how fast it may be played; 1 is as it was spoken.
    pub(super) min_speed: f64,
    pub(super) max_speed: f64,
    /// Seconds that a clip may last beyond the end of its cue, while no other clip is heard.
    pub(super) overrun: f64,
}

/// A clip to be placed, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spoken {
    pub(super) start: f64,
    pub(super) end: f64,
    /// As it was spoken.
    pub(super) length: f64,
}

/// How it is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placement {
    pub(super) speed: f64,
    /// Seconds by which it is too long, also at this speed.
    pub(super) over_by: f64,
}

/// Places clips that are ordered by when they start. `total`: the seconds there are.
pub(super) fn place(spoken: &[Spoken], total: f64, limits: StretchLimits) -> Vec<Placement> {
    let place = |(position, clip): (usize, &Spoken)| {
        let mut later = spoken[position + 1..].iter().map(|next| next.start);
        let next = later.find(|start| *start > clip.start);
        let free = next.map_or(total, |next| next - BREATH);
        // Two cues that overlap are two voices at once in the original, too.
        let free = free.min(clip.end + limits.overrun).max(clip.end).min(total);
        let room = (free - clip.start).max(0.001);
        let speed = if clip.length > room {
            (clip.length / room).min(limits.max_speed)
        } else {
            let own = (clip.end - clip.start).max(0.001);
            (clip.length / own).clamp(limits.min_speed, 1.0)
        };
        // A difference that cannot be heard is not worth a loss.
        let speed = if (speed - 1.0).abs() < 0.005 { 1.0 } else { speed };
        let over_by = clip.length / speed - room;
        Placement {
            speed,
            over_by: if over_by > 0.02 { over_by } else { 0.0 },
        }
    };
    spoken.iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoken::millis;

    const LIMITS: StretchLimits = StretchLimits {
        min_speed: 1.0,
        max_speed: 1.5,
        overrun: 1.0,
    };

    fn placed(spoken: &[(f64, f64, f64)], total: f64, limits: StretchLimits) -> Vec<(f64, f64)> {
        let spoken: Vec<_> = spoken
            .iter()
            .map(|(start, end, length)| Spoken {
                start: *start,
                end: *end,
                length: *length,
            })
            .collect();
        let places = place(&spoken, total, limits);
        places
            .iter()
            .map(|place| (millis(place.speed), millis(place.over_by)))
            .collect()
    }

    #[test]
    fn a_clip_runs_into_the_pause_first_then_faster_then_over() {
        // Fits its cue; fits with the pause; must be faster; is too long at the highest speed.
        let spoken = [
            (0.0, 2.0, 1.5),
            (3.0, 4.0, 1.8),
            (6.0, 7.0, 1.8),
            (7.5, 8.5, 6.0),
            (9.0, 10.0, 0.5),
        ];
        assert_eq!(
            placed(&spoken, 20.0, LIMITS),
            [(1.0, 0.0), (1.0, 0.0), (1.286, 0.0), (1.5, 2.6), (1.0, 0.0)]
        );
    }

    #[test]
    fn cues_that_overlap_keep_their_own_time_and_the_last_ends_with_the_video() {
        let spoken = [(0.0, 2.0, 2.4), (1.0, 3.0, 1.0), (9.0, 9.5, 3.0)];
        assert_eq!(placed(&spoken, 10.0, LIMITS), [(1.2, 0.0), (1.0, 0.0), (1.5, 1.0)]);
    }

    #[test]
    fn a_short_clip_is_slowed_only_on_request_and_a_cue_of_no_length_is_no_division() {
        let slow = StretchLimits {
            min_speed: 0.8,
            ..LIMITS
        };
        assert_eq!(placed(&[(0.0, 2.0, 1.0)], 9.0, LIMITS), [(1.0, 0.0)]);
        assert_eq!(placed(&[(0.0, 2.0, 1.0)], 9.0, slow), [(0.8, 0.0)]);
        assert_eq!(
            placed(&[(1.0, 1.0, 0.9), (1.0, 1.0, 0.9)], 9.0, LIMITS),
            [(1.0, 0.0), (1.0, 0.0)]
        );
        let squeezed = placed(&[(8.999, 8.999, 1.0)], 9.0, LIMITS);
        assert_eq!(squeezed[0].0, 1.5);
    }
}
