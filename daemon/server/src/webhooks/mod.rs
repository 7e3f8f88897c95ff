//! Callbacks: telling a client's URL how its stage ended.

pub mod deliver;
pub(crate) mod send;
pub mod sign;
pub mod tell;
