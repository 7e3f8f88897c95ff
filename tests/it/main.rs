//! The rules of the product, each proven against the real binaries and a real Redis.

mod access;
mod callbacks;
mod drain;
mod import;
mod operation;
mod reuse;
mod runs;
mod state;
