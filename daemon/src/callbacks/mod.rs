//! Callbacks: telling a client's URL how its stage ended.

pub mod deliver;
pub mod guard;
pub(crate) mod send;
pub mod sign;
pub mod tell;
