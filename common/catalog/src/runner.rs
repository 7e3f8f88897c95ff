//! What runs a node.

use onceover_types::RunnerKind;
use serde::{Deserialize, Serialize};

/// What runs the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunnerSpec {
    /// A node written in Rust, inside the daemon: `builtin = "ffmpeg.extract_audio"`.
    Builtin(String),
    /// A program and its arguments that speaks the command protocol: `command = ["python3", "node.py"]`. What names a
    /// file beside the node file stands for that file.
    Command(Vec<String>),
    /// A Python program that speaks the command protocol. The interpreter of its service's virtual environment runs it
    /// (`onceoverd nodes install <service>`): `python = "<service>/<method>.py"`, below the shipped node files or
    /// beside the file of the node. The packages it needs are in the `requirements.txt` of its folder.
    Python(String),
    /// A task of Celery workers, by its name: `celery = "faster_whisper.transcribe"`. Where the workers are is in the
    /// daemon's configuration, under the node's service.
    Celery(String),
}

impl RunnerSpec {
    /// Returns the kind of the runner.
    pub fn kind(&self) -> RunnerKind {
        match self {
            Self::Builtin(_) => RunnerKind::Builtin,
            Self::Command(_) => RunnerKind::Command,
            Self::Python(_) => RunnerKind::Python,
            Self::Celery(_) => RunnerKind::Celery,
        }
    }
}
