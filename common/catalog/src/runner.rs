//! What runs a node.

use onceover_types::RunnerKind;
use serde::{Deserialize, Serialize};

/// What runs the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RunnerTable", into = "RunnerTable")]
pub enum RunnerSpec {
    /// A node written in Rust, inside the daemon: `builtin = "ffmpeg.extract_audio"`.
    Builtin(String),
    /// A program and its arguments that speaks the command protocol: `command = ["python3", "node.py"]`. What names a
    /// file beside the node file stands for that file.
    Command(Vec<String>, ProcessLife),
    /// A Python program that speaks the command protocol. The interpreter of its service's virtual environment runs it
    /// (`onceoverd nodes install <service>`): `python = "<service>/<method>.py"`, below the shipped node files or
    /// beside the file of the node. The packages it needs are in the `requirements.txt` of its folder.
    Python(String, ProcessLife),
    /// A task of Celery workers, by its name: `celery = "faster_whisper.transcribe"`. Where the workers are is in the
    /// daemon's configuration, under the node's service.
    Celery(String),
}

/// What becomes of a program's process when a run ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProcessLife {
    /// It ends with the run.
    #[default]
    OneRun,
    /// It keeps its model and takes the next run: `warm = true`.
    Warm,
}

impl RunnerSpec {
    /// Returns the kind of the runner.
    pub fn kind(&self) -> RunnerKind {
        match self {
            Self::Builtin(_) => RunnerKind::Builtin,
            Self::Command(..) => RunnerKind::Command,
            Self::Python(..) => RunnerKind::Python,
            Self::Celery(_) => RunnerKind::Celery,
        }
    }

    /// Whether its process takes runs one after another.
    pub fn is_warm(&self) -> bool {
        matches!(
            self,
            Self::Command(_, ProcessLife::Warm) | Self::Python(_, ProcessLife::Warm)
        )
    }
}

/// A runner as node files have it: one key says what runs the node.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunnerTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    builtin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    python: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    celery: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warm: bool,
}

/// Why a table is no runner.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RunnerFault(&'static str);

impl TryFrom<RunnerTable> for RunnerSpec {
    type Error = RunnerFault;

    fn try_from(table: RunnerTable) -> Result<Self, RunnerFault> {
        let life = match table.warm {
            true => ProcessLife::Warm,
            false => ProcessLife::OneRun,
        };
        let runner = match (table.builtin, table.command, table.python, table.celery) {
            (Some(node), None, None, None) => Self::Builtin(node),
            (None, Some(words), None, None) => Self::Command(words, life),
            (None, None, Some(program), None) => Self::Python(program, life),
            (None, None, None, Some(task)) => Self::Celery(task),
            _ => {
                return Err(RunnerFault(
                    "a runner is one of builtin, command, python and celery: { command = [\"program\", \"argument\"] }",
                ));
            }
        };
        if table.warm && !runner.is_warm() {
            return Err(RunnerFault(
                "only a process can be kept warm: warm = true goes with command or python",
            ));
        }
        Ok(runner)
    }
}

impl From<RunnerSpec> for RunnerTable {
    fn from(runner: RunnerSpec) -> Self {
        let warm = runner.is_warm();
        let table = Self {
            warm,
            ..Self::default()
        };
        match runner {
            RunnerSpec::Builtin(node) => Self {
                builtin: Some(node),
                ..table
            },
            RunnerSpec::Command(words, _) => Self {
                command: Some(words),
                ..table
            },
            RunnerSpec::Python(program, _) => Self {
                python: Some(program),
                ..table
            },
            RunnerSpec::Celery(task) => Self {
                celery: Some(task),
                ..table
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RunnerSpec, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_process_can_be_kept_warm_and_nothing_else_can() {
        let warm = read("python = 'a/b.py'\nwarm = true").unwrap();
        assert_eq!(warm, RunnerSpec::Python("a/b.py".into(), ProcessLife::Warm));
        assert!(warm.is_warm());
        let json = serde_json::to_value(&warm).unwrap();
        assert_eq!(json, serde_json::json!({"python": "a/b.py", "warm": true}));
        assert_eq!(serde_json::from_value::<RunnerSpec>(json).unwrap(), warm);
        let cold = read("command = ['true']").unwrap();
        assert_eq!(
            serde_json::to_value(&cold).unwrap(),
            serde_json::json!({"command": ["true"]})
        );
        assert!(!cold.is_warm());
        for (text, named) in [
            ("builtin = 'x'\nwarm = true", "warm = true"),
            ("builtin = 'x'\ncommand = ['true']", "one of builtin"),
            ("warm = true", "one of builtin"),
            ("shell = 'x'", "command"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
