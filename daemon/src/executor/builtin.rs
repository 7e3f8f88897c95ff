//! The builtin runner: nodes that are Rust functions of the daemon.

use futures_util::future::BoxFuture;
use onceover_common::catalog::RunnerSpec;

use super::run::{Object, RunContext, RunError, Runner};
use crate::nodes;

/// Runs `RunnerSpec::Builtin` nodes.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltinRunner;

impl Runner for BuiltinRunner {
    fn run<'a>(&'a self, context: &'a RunContext) -> BoxFuture<'a, Result<Object, RunError>> {
        let node = match &context.node.runner {
            RunnerSpec::Builtin(name) => nodes::builtin(name).ok_or_else(|| {
                format!(
                    "{} names the builtin '{name}', which this daemon does not have; it has {}",
                    context.node.name,
                    nodes::names()
                )
            }),
            RunnerSpec::Command(_) | RunnerSpec::Python(_) => {
                Err(format!("{} is not a builtin node", context.node.name))
            }
        };
        match node {
            Ok(node) => Box::pin(async move {
                let output = node(context).await?;
                context.opened.still_in_place()?;
                Ok(output)
            }),
            Err(why) => Box::pin(async { Err(RunError::Failed(why)) }),
        }
    }
}
