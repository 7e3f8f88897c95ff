//! The rules of the product, each proven against the real binaries and a real Redis.

mod callbacks;
mod dashboard;
mod reuse;
mod runs;
mod state;
mod webhook_addresses;
mod webhook_records;
mod webhooks;
