//! Tests of the dashboard: behaviour (`update`), invariants under random events, and screens.

mod behaviour;
mod fixture;
mod invariants;
mod screens;
