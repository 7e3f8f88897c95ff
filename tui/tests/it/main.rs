//! Tests of the dashboard: behaviour (`update`), invariants under random events, screens, and the
//! feed against a daemon of sockets.

mod behaviour;
mod feed;
mod fixture;
mod invariants;
mod pipelines;
mod screens;
mod video_fixture;
mod video_screens;
mod videos;
mod warned;
