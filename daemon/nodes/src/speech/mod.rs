//! Speech that is made: clips of spoken cues, and the engine that needs no model.

pub(super) mod clips;
pub(super) mod espeak;
pub(super) mod wav;
