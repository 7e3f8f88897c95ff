//! The composition root. `build` puts the daemon together from its configuration, `compose` has each part of it,
//! `background` is what it does beside answering requests, `running` waits until it is asked to stop and takes it down in
//! order.

pub(crate) mod background;
mod build;
pub(crate) mod compose;
pub mod limits;
pub(crate) mod machine;
pub(crate) mod parts;
mod prepare;
mod running;
pub mod signals;

use std::process::ExitCode;

use anyhow::Context;
use onceover_types::causes;

pub use self::parts::{downloads, guard, objects, providers, readiness, secrets, store_options};
use self::{build::Assembly, machine::Machine, parts::Loaded};
use crate::{
    config::Config,
    logging::{self, Logging},
};

/// Runs the daemon until SIGTERM, ctrl-C or its terminal's end. Reports on stderr why it ends, if that is an error, and
/// answers whether it is.
pub fn main(config: Config) -> ExitCode {
    let format = config.log.format;
    // Out here, so that it outlives everything that may log.
    let mut logging = None;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime
        .context("cannot start the threads that do the work")
        .and_then(|runtime| runtime.block_on(serve(config, &mut logging)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report_failure(logging.as_ref(), format, &causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config, logging: &mut Option<Logging>) -> anyhow::Result<()> {
    let loaded = Loaded::from_config(&config)?;
    let machine = Machine::open(&config, &loaded.tokens, logging).await?;
    let running = Assembly::build(config, loaded, machine)?.start(logging.as_ref())?;
    running.serve().await
}
