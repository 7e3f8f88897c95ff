//! Runs of nodes for tests, with the programs of this machine.

pub(crate) use onceover_run::fixture::object;

pub(crate) type Fixture = onceover_run::fixture::Fixture<onceover_process::LocalPrograms>;
