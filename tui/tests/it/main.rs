//! Tests of the dashboard: behaviour (`update`), invariants under random events, screens, and the
//! feed against a daemon of sockets.

mod behaviour;
mod callback_page;
mod clipboard;
mod feed;
mod fixture;
mod invariants;
mod past;
mod pipelines;
mod record;
mod rerun;
mod row_actions;
mod row_keys;
mod screens;
mod stage_detail;
mod stage_log;
mod submit_form;
mod video_fixture;
mod video_screens;
mod videos;
mod warned;
