//! The rules of the product, each proven against the real binaries and a real Redis.

mod reuse;
mod state;
