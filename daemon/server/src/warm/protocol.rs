//! What a program that takes runs one after another is sent and says beside the lines of its runs: docs/writing-a-node.md,
//! "Runs one after another".

use onceover_types::RunId;
use serde::Deserialize;
use serde_json::json;

/// The variable that asks a program to take runs one after another.
pub const SERVE_VARIABLE: &str = "ONCEOVER_SERVE";

/// A line of such a program's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServedLine {
    /// It takes messages from now on; the version of its protocol.
    Ready(u32),
    /// A run has ended.
    Ended(RunEnding),
    /// A line of the protocol of this run.
    OfRun(String),
    /// Why the program ends: no run is named.
    Fault,
    /// No line of the protocol, or one that names no run.
    Other,
}

/// How a run has ended, and how the process is after it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunEnding {
    pub run_id: String,
    pub end: RunEndKind,
    /// Whether the process can go on.
    #[serde(default = "yes")]
    pub usable: bool,
    /// Whether a model is loaded.
    #[serde(default)]
    pub keeps: bool,
    /// Bytes of memory that the process has.
    pub memory: Option<u64>,
    /// Bytes of the GPU's memory that it holds.
    pub gpu_memory: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunEndKind {
    Success,
    Failed,
    Stopped,
}

fn yes() -> bool {
    true
}

/// What says which line it is.
#[derive(Deserialize)]
struct LineHead {
    #[serde(rename = "type")]
    kind: String,
    run_id: Option<String>,
    protocol: Option<u32>,
}

/// Reads a line of the output.
pub fn read_line(line: &str) -> ServedLine {
    let Some(head) = read_head(line) else {
        return ServedLine::Other;
    };
    match (head.kind.as_str(), head.run_id) {
        ("ready", _) => ServedLine::Ready(head.protocol.unwrap_or_default()),
        ("ended", Some(_)) => match serde_json::from_str(line) {
            Ok(ending) => ServedLine::Ended(ending),
            Err(_) => ServedLine::Other,
        },
        (_, Some(run_id)) => ServedLine::OfRun(run_id),
        ("error", None) => ServedLine::Fault,
        _ => ServedLine::Other,
    }
}

/// Returns the run whose part of the error output a line of it ends.
pub fn read_end_of_log(line: &str) -> Option<String> {
    let head = read_head(line).filter(|head| head.kind == "ended")?;
    head.run_id
}

fn read_head(line: &str) -> Option<LineHead> {
    let line = line.trim();
    // Most lines are none.
    line.starts_with('{').then(|| serde_json::from_str(line).ok()).flatten()
}

/// Makes the message that asks for the end of a run.
pub fn stop_message(run: &RunId) -> Vec<u8> {
    format!("{}\n", json!({"type": "stop", "run_id": run})).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whose_it_is() {
        let of_run = |run: &str| ServedLine::OfRun(run.into());
        for (line, read) in [
            (r#"{"type":"ready","protocol":1}"#, ServedLine::Ready(1)),
            (r#"{"type":"ready"}"#, ServedLine::Ready(0)),
            (r#"{"run_id":"r1","type":"progress","percent":5}"#, of_run("r1")),
            (r#" {"type":"of a later version","run_id":"r2"} "#, of_run("r2")),
            (r#"{"type":"error","message":"no JSON"}"#, ServedLine::Fault),
            (r#"{"type":"progress","percent":5}"#, ServedLine::Other),
            (r#"{"type":"ended","end":"success"}"#, ServedLine::Other),
            (r#"{"type":"ended","run_id":"r1","end":"lost"}"#, ServedLine::Other),
            ("", ServedLine::Other),
            ("{", ServedLine::Other),
            ("a library prints", ServedLine::Other),
        ] {
            assert_eq!(read_line(line), read, "{line}");
        }
    }

    #[test]
    fn the_end_of_a_run_says_how_the_process_is() {
        let line =
            r#"{"type":"ended","run_id":"r1","end":"stopped","usable":false,"keeps":true,"memory":7,"gpu_memory":8}"#;
        let ending = RunEnding {
            run_id: "r1".into(),
            end: RunEndKind::Stopped,
            usable: false,
            keeps: true,
            memory: Some(7),
            gpu_memory: Some(8),
        };
        assert_eq!(read_line(line), ServedLine::Ended(ending));
        let ServedLine::Ended(short) = read_line(r#"{"type":"ended","run_id":"r1","end":"success"}"#) else {
            panic!("it is an end");
        };
        assert!(short.usable && !short.keeps && short.memory.is_none());
    }

    #[test]
    fn the_log_of_a_run_ends_where_its_program_says() {
        assert_eq!(
            read_end_of_log(r#"{"type": "ended", "run_id": "r1"}"#).as_deref(),
            Some("r1")
        );
        for line in [r#"{"type":"log","run_id":"r1"}"#, r#"{"type":"ended"}"#, "ended r1"] {
            assert_eq!(read_end_of_log(line), None, "{line}");
        }
    }

    #[test]
    fn a_stop_names_its_run() {
        let run = RunId::generate();
        let message: serde_json::Value = serde_json::from_slice(&stop_message(&run)).unwrap();
        assert_eq!(message, json!({"type": "stop", "run_id": run.as_str()}));
    }
}
