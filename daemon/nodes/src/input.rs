//! Typed access to a run's input, and the files and folders of a run. Errors name the parameter.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use serde_json::Value;

use onceover_catalog::completion;
use onceover_run::{RunContext, RunError, paths::Opened};

/// A run's input; types were checked against the node's file when it was completed.
pub(super) struct Input<'a>(pub(super) &'a RunContext);

impl Input<'_> {
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.input.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.as_str()
    }

    /// Returns a text, or a number as text: a track by number or language.
    pub(super) fn text_or_number(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => number.as_f64().map(|number| number.to_string()),
            _ => None,
        }
    }

    /// Returns a text that must be given.
    pub(super) fn required_text(&self, name: &str) -> Result<&str, RunError> {
        self.text(name)
            .filter(|text| !text.trim().is_empty())
            .ok_or_else(|| self.missing(name))
    }

    /// Opens an input file that must be given.
    pub(super) fn file(&self, name: &str) -> Result<Opened, RunError> {
        match self.text(name) {
            Some(path) => self.open(name, path),
            None => Err(self.missing(name)),
        }
    }

    /// Opens an input file that may be omitted.
    pub(super) fn optional_file(&self, name: &str) -> Result<Option<Opened>, RunError> {
        self.text(name).map(|path| self.open(name, path)).transpose()
    }

    /// Opens an input file or folder that must be given.
    pub(super) fn file_or_folder(&self, name: &str) -> Result<Opened, RunError> {
        let path = self.text(name).ok_or_else(|| self.missing(name))?;
        self.0
            .roots
            .open_input(path)
            .inspect(|opened| self.0.opened.note(opened))
            .map_err(|why| why.about(format_args!("input_data.{name}")))
    }

    /// Returns the numbers of an array; `None` if it is omitted.
    pub(super) fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, RunError> {
        let Some(values) = self.value(name).and_then(Value::as_array) else {
            return Ok(None);
        };
        let numbers: Option<Vec<_>> = values.iter().map(Value::as_f64).collect();
        numbers
            .map(Some)
            .ok_or_else(|| RunError::failed(format!("input_data.{name} must hold numbers only")))
    }

    /// Opens an input file that stays open to the end of the run. Then it is checked that no other file replaced it.
    pub(super) fn open(&self, name: &str, path: &str) -> Result<Opened, RunError> {
        self.open_briefly(name, path)
            .inspect(|opened| self.0.opened.note(opened))
    }

    /// Opens an input file that is closed before the run ends. The caller calls `check_in_place` once it has been read.
    pub(super) fn open_briefly(&self, name: &str, path: &str) -> Result<Opened, RunError> {
        let opened = self.0.roots.open_file(path);
        opened.map_err(|why| why.about(format_args!("input_data.{name}")))
    }

    /// Returns the earlier stage a value came from; `None` if the request gave it.
    pub(super) fn source_stage(&self, name: &str) -> Option<&str> {
        let value = self.value(name)?;
        let parameter = self.0.node.parameter(name)?;
        parameter
            .fallbacks
            .iter()
            .find(|fallback| completion::from_stage(fallback, &self.0.stages) == Some(value))
            .map(|fallback| fallback.node.as_str())
    }

    pub(super) fn optional_number(&self, name: &str) -> Option<f64> {
        self.value(name)?.as_f64()
    }

    pub(super) fn number(&self, name: &str) -> Result<f64, RunError> {
        self.value(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| self.missing(name))
    }

    /// Returns a count; the node's file has its range.
    pub(super) fn count(&self, name: &str) -> Result<u64, RunError> {
        let number = self.number(name)?;
        if number >= 0.0 && number.fract() == 0.0 && number < 9e15 {
            Ok(number as u64)
        } else {
            Err(RunError::failed(format!(
                "input_data.{name} must be a whole number, not {number}"
            )))
        }
    }

    /// Returns a whole number, which may be negative.
    pub(super) fn integer(&self, name: &str) -> Result<i64, RunError> {
        let number = self.number(name)?;
        if number.fract() == 0.0 && number.abs() < 9e15 {
            Ok(number as i64)
        } else {
            Err(RunError::failed(format!(
                "input_data.{name} must be a whole number, not {number}"
            )))
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, RunError> {
        self.value(name)
            .and_then(Value::as_bool)
            .ok_or_else(|| self.missing(name))
    }

    /// Whether the request itself turns a switch on.
    pub(super) fn asks_for(&self, name: &str) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns the answer to a request for an upload that is not possible; `None` if the daemon uploads files itself.
    pub(super) fn not_uploaded(&self) -> Option<Value> {
        const WHY: &str = "this daemon uploads nothing: it has no object store, or core.auto_upload is off";
        if self.0.uploads {
            return None;
        }
        self.0.log.line(WHY);
        Some(WHY.into())
    }

    pub(super) fn missing(&self, name: &str) -> RunError {
        match self.0.node.parameter(name) {
            Some(parameter) => completion::missing(parameter).into(),
            None => RunError::failed(format!("input_data.{name} is missing")),
        }
    }
}

/// Creates a folder of the run, `<run's folder>/<name>`.
pub(super) fn create_folder(context: &RunContext, name: &str) -> Result<PathBuf, RunError> {
    let folder = context.dir.join(name);
    std::fs::create_dir_all(&folder)
        .map_err(|why| RunError::of_file(format_args!("cannot create {}", folder.display()), &why))?;
    Ok(folder)
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    std::fs::write(path, bytes).map_err(|why| RunError::of_file(format_args!("cannot write {}", path.display()), &why))
}

/// Writes JSON with an indent of 2, and other scripts than Latin as they are.
pub(super) fn write_json(path: &Path, json: &Value) -> Result<(), RunError> {
    write(path, format!("{json:#}\n").as_bytes())
}

pub(super) fn read(file: &Opened) -> Result<Vec<u8>, RunError> {
    file.read().map_err(|why| match why.kind() {
        // This error names the file itself.
        ErrorKind::FileTooLarge => RunError::failed(why.to_string()),
        _ => RunError::of_file(format_args!("cannot read {}", file.display()), &why),
    })
}

/// Runs work that keeps a processor busy on other threads than those that serve everything else.
pub(super) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(why) => Err(RunError::failed(format!("the node stopped unexpectedly: {why}"))),
    }
}

/// Returns a path as JSON outputs carry it.
pub(super) fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Returns a file name without its last suffix, short enough to get another one.
pub(super) fn stem(name: &str) -> Option<String> {
    const LONGEST: usize = 180;
    let stem = Path::new(name).file_stem()?.to_string_lossy();
    let mut stem: String = stem
        .chars()
        .map(|c| if c.is_control() || c == '\u{fffd}' { '_' } else { c })
        .collect();
    stem.truncate(stem.floor_char_boundary(LONGEST));
    let stem = stem.trim();
    (!stem.is_empty()).then(|| stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_has_no_folder_no_last_suffix_and_no_control_characters() {
        for (name, expected) in [
            ("/a/clip.mp4", Some("clip")),
            ("talk.v2", Some("talk")),
            ("../../etc/passwd", Some("passwd")),
            (".hidden", Some(".hidden")),
            ("a\nb.srt", Some("a_b")),
            ("..", None),
            ("", None),
            ("  .srt", None),
        ] {
            assert_eq!(stem(name).as_deref(), expected, "{name:?}");
        }
        assert!(stem(&"é".repeat(300)).unwrap().len() <= 180);
    }
}
