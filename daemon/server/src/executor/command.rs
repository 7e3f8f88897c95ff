//! The command runner: a node that is a separate program, in any language. It reads one JSON request on
//! its standard input and writes JSON lines: progress, log, output, error. Python programs are run by the interpreter
//! of their service's environment.

use std::{ffi::OsString, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use onceover_catalog::RunnerSpec;
use serde_json::json;

use super::program_lines::ReportedLines;
use crate::python::Python;
use onceover_run::{
    Object, RunContext, RunError, Runner,
    tool::{DEFAULT_GRACE, Tool},
};

/// Version of the request and of the lines.
pub const PROTOCOL: u32 = 1;

/// Bytes of one line a program writes; an output that is longer belongs in a file.
pub(crate) const LINE_LIMIT: usize = 16 * 1024 * 1024;

/// Runs `RunnerSpec::Command` and `RunnerSpec::Python` nodes.
#[derive(Debug, Clone)]
pub struct CommandRunner {
    /// How long a cancelled program may take to end by itself.
    pub grace: Duration,
    /// What runs Python programs; without it they cannot be run.
    pub python: Option<Arc<Python>>,
}

impl Default for CommandRunner {
    fn default() -> Self {
        Self {
            grace: DEFAULT_GRACE,
            python: None,
        }
    }
}

impl Runner for CommandRunner {
    fn run<'a>(&'a self, context: &'a RunContext) -> BoxFuture<'a, Result<Object, RunError>> {
        Box::pin(self.run_program(context))
    }
}

/// Variables that tell libraries which GPUs to use.
const GPU_CHOICE: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];

impl CommandRunner {
    async fn run_program(&self, context: &RunContext) -> Result<Object, RunError> {
        let tool = self.build_tool(context)?.stdin(build_request(context));
        let program = tool.program.clone();
        // What a library leaves where it is started goes with the run.
        let tool = match context.node.runner {
            RunnerSpec::Python(..) => tool.current_dir(&context.dir),
            _ => tool,
        };
        let mut reported = ReportedLines::default();
        let exit = tool.run(context, |line| reported.read(line, context)).await?;
        reported.judge_exit(&program, &exit, context)
    }

    /// Makes the call of a node's program, with all that it gets but its input and its folder.
    pub(super) fn build_tool(&self, context: &RunContext) -> Result<Tool, RunError> {
        let (program, args) = self.command(context).map_err(RunError::Failed)?;
        let mut tool = Tool::new(&program)
            .args(args)
            .inherit(&context.node.environment)
            .inherit(&context.node.needs.environment)
            // Else Python keeps its lines until it ends, and with them the progress.
            .env("PYTHONUNBUFFERED", "1")
            .grace(self.grace)
            .line_limit(LINE_LIMIT);
        if let (RunnerSpec::Python(..), Some(python)) = (&context.node.runner, &self.python) {
            // What all programs share; nothing from outside the environment.
            tool = tool.env("PYTHONPATH", &python.programs).env("PYTHONNOUSERSITE", "1");
        }
        if context.hides_gpu {
            for variable in GPU_CHOICE {
                tool = tool.env(variable, "-1");
            }
        }
        Ok(tool)
    }

    /// Program and arguments of a node.
    fn command(&self, context: &RunContext) -> Result<(OsString, Vec<OsString>), String> {
        let node = &context.node;
        match &node.runner {
            RunnerSpec::Command(command, _) => {
                let mut words = command.iter().map(OsString::from);
                let program = words
                    .next()
                    .ok_or_else(|| format!("{} has an empty command; name a program in its node file", node.name))?;
                Ok((program, words.collect()))
            }
            RunnerSpec::Python(..) => {
                let python = self.python.as_ref();
                let python =
                    python.ok_or_else(|| format!("{} is a Python program, which cannot be run here", node.name))?;
                let [interpreter, program] = python.command(node)?;
                Ok((interpreter.into(), vec![program.into()]))
            }
            RunnerSpec::Builtin(_) | RunnerSpec::Celery(_) => Err(format!("{} is not run by a command", node.name)),
        }
    }
}

/// What the program reads: one JSON object and a line end.
pub(super) fn build_request(context: &RunContext) -> Vec<u8> {
    let request = json!({
        "protocol": PROTOCOL,
        "task_id": context.task_id,
        "task_name": context.node.name,
        "run_id": context.run_id,
        "attempt": context.attempt,
        "input": context.input,
        "stages": context.stages,
        "output_dir": context.dir,
        "uploads": context.uploads,
    });
    format!("{request}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use onceover_catalog::{ProcessLife, parse_node};

    use super::*;
    use crate::{
        fixture::{Fixture, object},
        python::{self, Environments, Service},
    };

    async fn run(fixture: &Fixture) -> Result<Object, RunError> {
        CommandRunner::default().run(&fixture.context).await
    }

    fn shell(script: &str) -> Fixture {
        Fixture::command(&["sh", "-c", script])
    }

    async fn error(script: &str) -> String {
        run(&shell(script)).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_program_gets_the_request_and_gives_the_output() {
        let mut fixture = shell(r#"read request; echo "{\"type\":\"output\",\"output\":{\"request\":$request}}""#);
        fixture.context.input = object(json!({"text": "héllo 'x'"}));
        fixture.stage("a.b", json!({"n": 1}));
        let output = run(&fixture).await.unwrap();
        assert_eq!(
            output["request"],
            json!({
                "protocol": 1,
                "task_id": "t1",
                "task_name": "demo.node",
                "run_id": fixture.context.run_id,
                "attempt": 1,
                "input": {"text": "héllo 'x'"},
                "stages": {"a.b": {"n": 1}},
                "output_dir": fixture.context.dir,
                "uploads": false,
            })
        );
    }

    #[tokio::test]
    async fn a_python_program_runs_in_its_services_environment_and_gets_the_variables_it_declares_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("report.py");
        std::fs::write(
            &program,
            r#"
import json, os, shared, sys
json.load(sys.stdin)
report = {"prefix": sys.prefix, "shared": shared.WORD, "got": sorted(set(os.environ) & {"CARGO", "CARGO_PKG_NAME"})}
print(json.dumps({"type": "output", "output": report}))
"#,
        )
        .unwrap();
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs).unwrap();
        std::fs::write(programs.join("shared.py"), "WORD = 'shared'\n").unwrap();
        let spec = parse_node(&format!(
            "name = 'demo.node'\nrunner = {{ python = '{}' }}\nneeds = {{ environment = ['CARGO_PKG_NAME'] }}",
            program.display()
        ))
        .unwrap();
        let environments = Environments::new(folder.path().join("nodes"));
        let fixture = Fixture::new(spec);
        let runner = CommandRunner {
            python: Some(Arc::new(Python {
                environments: environments.clone(),
                programs,
            })),
            ..CommandRunner::default()
        };
        let error = runner.run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("onceoverd nodes install demo"), "{error}");

        let service = Service::of(&fixture.context.node).unwrap().unwrap();
        let setup = python::Setup::plain("python3", &service);
        python::install(&environments, &service, &setup, false, &|_| {}).unwrap();
        let output = runner.run(&fixture.context).await.unwrap();
        let prefix = output["prefix"].as_str().unwrap();
        assert!(prefix.starts_with(folder.path().to_str().unwrap()), "{prefix}");
        assert_eq!(output["shared"], "shared");
        assert_eq!(output["got"], json!(["CARGO_PKG_NAME"]));
    }

    #[tokio::test]
    async fn the_last_output_line_counts_and_other_lines_are_logged() {
        let fixture = shell(
            r#"echo '{"type":"output","output":{"n":1}}'; echo hello; echo '{"x":1}'; echo '{"type":"odd"}'
            echo '{"type":"log","message":"from the log line"}'; echo problem >&2
            echo '{"type":"output","output":{"n":2}}'"#,
        );
        assert_eq!(run(&fixture).await.unwrap(), object(json!({"n": 2})));
        let log = fixture.log_text();
        for line in ["hello", "{\"x\":1}", "\"odd\"", "from the log line", "problem"] {
            assert!(log.contains(line), "{line} is not in {log}");
        }
    }

    #[tokio::test]
    async fn v3_progress_never_goes_back() {
        let fixture = shell(
            r#"for p in 10 50.5 20 1e999 -3; do echo "{\"type\":\"progress\",\"percent\":$p,\"message\":\"at $p\"}"; done
            echo '{"type":"output","output":{"n":1}}'"#,
        );
        run(&fixture).await.unwrap();
        assert_eq!(fixture.progress.borrow().percent, 50.5);
        assert_eq!(fixture.progress.borrow().message.as_deref(), Some("at -3"));
    }

    #[tokio::test]
    async fn a_failure_says_what_the_program_said() {
        assert_eq!(
            error(r#"echo '{"type":"error","message":"no model"}'; echo '{"type":"output","output":{"n":1}}'"#).await,
            "no model"
        );
        let text = error("echo first >&2; echo second >&2; exit 7").await;
        assert!(
            text.contains("exit code 7") && text.ends_with("first / second"),
            "{text}"
        );
        let text = error("kill -9 $$").await;
        assert!(text.contains("signal 9"), "{text}");
        let text = error("echo done").await;
        assert!(text.contains("without an output line"), "{text}");
        let text = error(r#"echo '{"type":"output","output":{"n":1}}'; exit 1"#).await;
        assert!(text.contains("exit code 1"), "{text}");
    }

    #[tokio::test]
    async fn an_output_may_be_large() {
        let fixture =
            shell(r#"printf '{"type":"output","output":{"text":"'; head -c 1000000 /dev/zero | tr '\0' x; echo '"}}'"#);
        assert_eq!(run(&fixture).await.unwrap()["text"].as_str().unwrap().len(), 1_000_000);
    }

    #[tokio::test]
    async fn a_file_an_output_names_must_exist_and_be_inside() {
        let node = |script: &str| {
            let mut spec = parse_node(
                r#"
                name = "demo.node"
                runner = { command = [] }
                [[outputs]]
                name = "file"
                type = "path"
                "#,
            )
            .unwrap();
            let script = format!(
                "cd $(sed 's/.*output_dir\":\"//; s/\".*//'); >a; {script}; echo '{{\"type\":\"output\",\"output\":{{\"file\":\"'$f'\"}}}}'"
            );
            spec.runner = RunnerSpec::Command(vec!["sh".into(), "-c".into(), script], ProcessLife::OneRun);
            Fixture::new(spec)
        };
        assert!(run(&node("f=$PWD/a")).await.is_ok());
        for bad in ["f=$PWD/b", "f=/etc/passwd", "f=a", "ln -s /etc/passwd c; f=$PWD/c"] {
            let error = run(&node(bad)).await.unwrap_err().to_string();
            assert!(error.contains("'file'"), "{bad}: {error}");
        }
    }
}
