//! Tests of the dashboard: behaviour (`update`), invariants under random events, screens, and the
//! feed against a daemon of sockets.

mod behaviour;
mod callback_page;
mod clipboard;
mod compare;
mod edit;
mod feed;
mod fixture;
mod invariants;
mod observed_pages;
mod past;
mod pipelines;
mod preview;
mod record;
mod rerun;
mod row_actions;
mod row_keys;
mod screens;
mod settings;
mod stage_detail;
mod stage_log;
mod submit_form;
mod task_log;
mod texts;
mod timeline;
mod video_fixture;
mod video_screens;
mod videos;
mod warned;
mod workers_page;
