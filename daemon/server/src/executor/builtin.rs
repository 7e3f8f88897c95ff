//! The builtin runner: nodes that are Rust functions of the daemon.

use futures_util::future::BoxFuture;
use onceover_catalog::RunnerSpec;
use onceover_nodes::llm::Providers;

use onceover_nodes as nodes;
use onceover_run::{Object, RunContext, RunError, Runner};

/// Runs `RunnerSpec::Builtin` nodes.
#[derive(Debug)]
pub struct BuiltinRunner {
    /// The language models that nodes may ask.
    pub providers: Providers,
}

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
            RunnerSpec::Command(..) | RunnerSpec::Python(..) | RunnerSpec::Celery(_) => {
                Err(format!("{} is not a builtin node", context.node.name))
            }
        };
        match node {
            Ok(node) => Box::pin(async move {
                let output = node.run(context, &self.providers).await?;
                context.opened.still_in_place()?;
                Ok(output)
            }),
            Err(why) => Box::pin(async { Err(RunError::Failed(why)) }),
        }
    }
}
