//! What a message says of a node to `onceover_worker.py`: its command, and its programs with their hashes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use include_dir::Dir;
use onceover_catalog::{NodeSpec, RunnerSpec, shipped::ASSETS};
use onceover_celery::LARGEST_MESSAGE;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Version of what messages say of a node.
pub(super) const DEFINITION_VERSION: u32 = 1;

/// Describes how a worker runs a node. `folders` are those that programs beside node files lie in. The error is for
/// people. A node that only workers have is not described. Blocks.
pub(super) fn describe_node(node: &NodeSpec, folders: &[PathBuf]) -> Result<Value, String> {
    let mut programs = ProgramBundle::default();
    let runner = match &node.runner {
        RunnerSpec::Command(words, _) => {
            let words = words.iter().map(|word| place_word(word, folders, &mut programs));
            let words: Vec<Value> = words.collect::<Result<_, String>>()?;
            json!({ "command": words })
        }
        RunnerSpec::Python(program, _) => json!({ "python": add_python(node, program, &mut programs)? }),
        RunnerSpec::Celery(_) => return Ok(Value::Null),
        RunnerSpec::Builtin(_) => {
            return Err(format!(
                "{} is built into the daemon, which workers cannot run",
                node.name
            ));
        }
    };
    let environment: Vec<_> = node.environment.iter().chain(&node.needs.environment).collect();
    Ok(json!({"runner": runner, "programs": programs.describe(), "environment": environment}))
}

/// Reads the lines of a run's log in the context that a worker returned.
pub(super) fn read_worker_log(returned: &Value) -> impl Iterator<Item = &str> {
    let lines = returned.pointer("/onceover/log").and_then(Value::as_array);
    lines.into_iter().flatten().filter_map(Value::as_str)
}

/// The files that a node's programs consist of, by their path in the folder that a worker unpacks them to.
#[derive(Debug, Default)]
struct ProgramBundle(BTreeMap<String, BundledFile>);

#[derive(Debug)]
struct BundledFile {
    bytes: Vec<u8>,
    is_executable: bool,
}

impl ProgramBundle {
    fn add(&mut self, path: String, bytes: Vec<u8>, is_executable: bool) {
        self.0.insert(path, BundledFile { bytes, is_executable });
    }

    /// Adds a file of this machine. One that no message can hold is not read.
    fn add_file(&mut self, path: String, file: &Path) -> Result<(), String> {
        let cannot = |why: String| format!("the program {} cannot be sent to a worker: {why}", file.display());
        let meta = fs::metadata(file).map_err(|error| cannot(error.to_string()))?;
        if meta.len() > LARGEST_MESSAGE as u64 {
            return Err(cannot(
                "it is larger than a message may be; install it on the workers, and name it in the node file as it is called \
                 there"
                    .to_owned(),
            ));
        }
        let bytes = fs::read(file).map_err(|error| cannot(error.to_string()))?;
        self.add(path, bytes, meta.permissions().mode() & 0o111 != 0);
        Ok(())
    }

    /// Adds the Python programs of a folder of this machine, which may import one another.
    fn add_siblings(&mut self, below: &str, folder: &Path) -> Result<(), String> {
        let entries =
            fs::read_dir(folder).map_err(|error| format!("the folder {} cannot be read: {error}", folder.display()))?;
        for file in entries.flatten().map(|entry| entry.path()) {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if is_python(&file) && file.is_file() {
                self.add_file(format!("{below}{name}"), &file)?;
            }
        }
        Ok(())
    }

    /// Adds the Python programs that are shipped in a folder, without what its folders hold.
    fn add_shipped(&mut self, folder: &Dir<'_>) {
        for file in folder.files().filter(|file| is_python(file.path())) {
            if let Some(path) = file.path().to_str() {
                self.add(path.to_owned(), file.contents().to_vec(), false);
            }
        }
    }

    /// Lists the files with their hashes. The version is the hash of that list.
    fn describe(&self) -> Value {
        let mut version = Sha256::new();
        let mut files = Vec::new();
        for (path, file) in &self.0 {
            let sha256 = format!("{:x}", Sha256::digest(&file.bytes));
            let mode = if file.is_executable { 0o755 } else { 0o644 };
            version.update(format!("{path}\0{sha256}\0{mode}\n"));
            files.push(json!({
                "path": path,
                "sha256": sha256,
                "mode": mode,
                "data": BASE64_STANDARD.encode(&file.bytes),
            }));
        }
        json!({"sha256": format!("{:x}", version.finalize()), "files": files})
    }
}

fn is_python(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "py")
}

/// The path of a file below one of the folders, as it is called there. None for what lies elsewhere.
fn find_below(file: &Path, folders: &[PathBuf]) -> Option<String> {
    let inside = folders.iter().find_map(|folder| file.strip_prefix(folder).ok())?;
    let parts = inside.components().filter(|part| *part != Component::CurDir);
    let parts = parts.map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let parts: Option<Vec<_>> = parts.collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
}

/// A word of a command as a message has it: one that names a file beside the node file stands for that.
fn place_word(word: &str, folders: &[PathBuf], programs: &mut ProgramBundle) -> Result<Value, String> {
    let file = Path::new(word);
    let Some(path) = find_below(file, folders).filter(|_| file.is_file()) else {
        return Ok(Value::String(word.to_owned()));
    };
    programs.add_file(path.clone(), file)?;
    if let (true, Some(folder)) = (is_python(file), file.parent()) {
        let below = path.rfind('/').map_or("", |end| &path[..=end]);
        programs.add_siblings(below, folder)?;
    }
    Ok(json!({ "file": path }))
}

/// Adds a Python program and what it may import. Returns its path among the programs.
fn add_python(node: &NodeSpec, program: &str, programs: &mut ProgramBundle) -> Result<String, String> {
    programs.add_shipped(&ASSETS);
    let file = Path::new(program);
    if file.is_absolute() {
        let name = file.file_name().and_then(|name| name.to_str());
        let (Some(name), Some(folder)) = (name, file.parent()) else {
            return Err(format!("runner.python: '{program}' is no file"));
        };
        let below = format!("{}/", node.name.service());
        programs.add_siblings(&below, folder)?;
        let path = format!("{below}{name}");
        programs.add_file(path.clone(), file)?;
        return Ok(path);
    }
    let folder = file.parent().and_then(|folder| ASSETS.get_dir(folder));
    let folder = folder.filter(|_| ASSETS.get_file(file).is_some());
    let folder = folder.ok_or_else(|| format!("runner.python: '{program}' is no shipped program"))?;
    programs.add_shipped(folder);
    Ok(program.to_owned())
}

#[cfg(test)]
mod tests {
    use onceover_catalog::{parse_node, shipped::shipped};

    use super::*;

    fn paths(described: &Value) -> Vec<&str> {
        let files = described["programs"]["files"].as_array().unwrap().iter();
        files.map(|file| file["path"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_lies_beside_a_node_file_is_sent_and_other_words_are_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("run.py", "import helper"), ("helper.py", "N = 1"), ("notes.txt", "")] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let node = parse_node(&format!(
            "name = 'mine.node'\nenvironment = ['A']\nneeds = {{ environment = ['B'] }}\n\
             runner = {{ command = ['python3', '{0}/./run.py', '/bin/sh', '{0}/missing.py'] }}",
            dir.path().display()
        ))
        .unwrap();
        let described = describe_node(&node, &[dir.path().to_owned()]).unwrap();
        let missing = dir.path().join("missing.py").display().to_string();
        assert_eq!(
            described["runner"],
            json!({"command": ["python3", {"file": "run.py"}, "/bin/sh", missing]})
        );
        assert_eq!(described["environment"], json!(["A", "B"]));
        assert_eq!(paths(&described), ["helper.py", "run.py"]);
        let file = &described["programs"]["files"][0];
        assert_eq!(file["data"], BASE64_STANDARD.encode("N = 1"));
        assert_eq!(file["sha256"], format!("{:x}", Sha256::digest("N = 1")));
        // Another program is another version.
        let version = described["programs"]["sha256"].clone();
        assert_eq!(
            describe_node(&node, &[dir.path().to_owned()]).unwrap()["programs"]["sha256"],
            version
        );
        fs::write(dir.path().join("helper.py"), "N = 2").unwrap();
        assert_ne!(
            describe_node(&node, &[dir.path().to_owned()]).unwrap()["programs"]["sha256"],
            version
        );
        // Elsewhere nothing is sent.
        assert!(paths(&describe_node(&node, &[]).unwrap()).is_empty());
    }

    #[test]
    fn a_shipped_python_program_comes_with_what_it_imports() {
        let catalog = shipped();
        let described = describe_node(catalog.get("paddleocr.perform_ocr").unwrap(), &[]).unwrap();
        assert_eq!(described["runner"], json!({"python": "paddleocr/perform_ocr.py"}));
        let paths = paths(&described);
        for path in ["onceover_node.py", "paddleocr/engines.py", "paddleocr/perform_ocr.py"] {
            assert!(paths.contains(&path), "{path} is not in {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.starts_with("funasr/")), "{paths:?}");
        assert!(describe_node(catalog.get("ffmpeg.probe").unwrap(), &[]).is_err());
    }

    #[test]
    fn the_lines_of_a_workers_log_are_read() {
        let returned = json!({"onceover": {"version": 1, "log": ["one", 2, "three"]}});
        assert_eq!(read_worker_log(&returned).collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!(read_worker_log(&json!({"stages": {}})).count(), 0);
    }
}
