//! A Python worker of an existing system, which writes stages into Redis with redis-py and knows nothing of Onceover.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

/// Lives until dropped.
pub struct PythonWorker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl PythonWorker {
    /// Starts it on a Redis behind a socket, as [`crate::Daemon`] and [`crate::RedisServer`] have it.
    pub fn start(url: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("workers");
        let installed = Command::new(folder.join("install.sh"))
            .stderr(Stdio::inherit())
            .output()
            .expect("bash runs");
        assert!(installed.status.success(), "redis-py is installed, see above");
        let said = String::from_utf8(installed.stdout).expect("text");
        let python = said.lines().last().expect("its Python");
        let (socket, query) = url
            .strip_prefix("redis+unix://")
            .and_then(|url| url.split_once('?'))
            .expect("a Redis behind a socket");
        let database = query.split('&').find_map(|pair| pair.strip_prefix("db="));
        let mut child = Command::new(python)
            // SETEX, which the older gateway uses, is deprecated in redis-py.
            .args(["-W", "ignore"])
            .arg(folder.join("worker.py"))
            .args([socket, database.unwrap_or("0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the worker starts");
        Self {
            input: child.stdin.take().expect("its input"),
            output: BufReader::new(child.stdout.take().expect("its output")),
            child,
        }
    }

    /// Writes one stage in today's spelling; answers its key.
    pub fn write(&mut self, task: &str, node: &str, status: &str) -> String {
        self.write_more(task, node, json!({"status": status}))
    }

    /// The same in the older spelling.
    pub fn write_older(&mut self, task: &str, node: &str, status: &str) -> String {
        self.write_more(task, node, json!({"status": status, "spelling": "older"}))
    }

    /// Removes the key of a stage.
    pub fn remove(&mut self, task: &str, node: &str) -> String {
        self.write_more(task, node, json!({"status": null}))
    }

    /// Writes one stage with what `worker.py` takes beside task and node.
    pub fn write_more(&mut self, task: &str, node: &str, mut write: Value) -> String {
        write["task"] = task.into();
        write["node"] = node.into();
        writeln!(self.input, "{write}").expect("the worker takes it");
        let mut key = String::new();
        self.output.read_line(&mut key).expect("the worker answers");
        assert!(!key.is_empty(), "the worker ended, see above");
        key.trim().to_owned()
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
