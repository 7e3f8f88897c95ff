//! Celery's protocol over Redis, as workers of Celery 5.3 to 5.7 speak it: messages to their queues, results, events and
//! control requests. No Python, and nothing to change in the workers.
//!
//! This crate knows what goes over the wire and nothing of stages or runs. It decides nothing: which attempt is sent, what
//! a result means and when a message counts as lost is for the runner that uses it, which writes the bytes of an envelope
//! down before they are pushed.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

mod broadcast;
mod client;
mod control;
mod envelope;
mod error;
mod event;
mod follow;
#[cfg(test)]
mod fuzz;
mod kombu;
mod message_id;
mod names;
mod redis_link;
#[cfg(test)]
mod replay;
mod result;
mod search;
mod settings;
#[cfg(test)]
mod trials;
mod worker_lock;

pub use client::CeleryClient;
pub use control::{
    PoolKind, SightingState, TaskSighting, TermSignal, TerminateOutcome, TerminateReply, UnknownSignal, WorkerReport,
    WorkerSurvey,
};
pub use envelope::{Envelope, MessageLimits, Origin};
pub use error::{CeleryError, PushError};
pub use event::WorkerEvent;
pub use follow::CeleryNews;
pub use kombu::LARGEST_MESSAGE;
pub use message_id::{InvalidMessageId, MessageId};
pub use result::{LARGEST_RESULT, ResultState, TaskResult};
pub use search::{MOST_SEARCHED, Whereabouts};
pub use settings::{BrokerSettings, BrokerUrlError};
pub use worker_lock::{LockHolder, WorkerLock};
