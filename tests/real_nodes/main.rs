//! Nodes whose libraries come from PyPI, run for real. `make test-nodes` installs the libraries into environments below
//! `target` and runs this; no other command does.

mod hard_subtitles;
mod speech;
mod subtitles;
mod synchrony;
mod translated;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use onceover_tests::{Daemon, DaemonBuilder};
use onceover_types::StageState;
use serde_json::Value;

/// The folder of the environments that `make test-nodes` fills.
fn environments() -> PathBuf {
    let folder = std::env::var_os("ONCEOVER_ENVIRONMENTS").map(PathBuf::from);
    folder.expect("ONCEOVER_ENVIRONMENTS names the folder of the environments; make test-nodes sets it")
}

/// The interpreter of a service's environment.
fn interpreter(service: &str) -> PathBuf {
    let python = environments().join(service).join("venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing; make test-nodes installs it",
        python.display()
    );
    python
}

/// A daemon that uses those environments, and models of this folder.
fn daemon(models: &Path) -> DaemonBuilder {
    Daemon::builder()
        .nodes("")
        .env("ONCEOVER_ENVIRONMENTS", &environments().display().to_string())
        .env("ONCEOVER_MODELS", &models.display().to_string())
        .env("HF_HUB_OFFLINE", "1")
}

/// The sample clip, made once.
fn sample() -> PathBuf {
    let folder = std::env::temp_dir().join("onceover-real-nodes-sample");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/sample/make-sample.sh");
    let made = Command::new(script).arg(&folder).status().expect("the script starts");
    assert!(made.success());
    folder
}

/// The contents of a JSON file that an output names.
fn json_of(path: &Value) -> Value {
    let text = fs::read(path.as_str().expect("a path")).expect("the file is there");
    serde_json::from_slice(&text).expect("JSON")
}

/// Waits for the end of a stage, and gives the output of one that succeeded.
async fn output(daemon: &Daemon, task: &str, node: &str) -> Value {
    let stage = daemon.until_ended(task, node).await;
    assert_eq!(
        (stage.status, stage.error.as_deref()),
        (StageState::Success, None),
        "{task} {node}"
    );
    serde_json::from_str(stage.output.get()).expect("JSON")
}
