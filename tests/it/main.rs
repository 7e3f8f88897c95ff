//! The rules of the product, each proven against the real binaries and a real Redis.

mod callbacks;
mod reuse;
mod runs;
mod state;
