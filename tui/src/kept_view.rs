//! What the dashboard keeps from one start to the next: how the screen is divided, and how logs are shown. Where the
//! file cannot be read or written, everything is as at the first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    layout::Split,
    log_file::find_state_folder,
    model::{Model, log_view::LogTimes},
};

/// Name of the file in the user's state folder.
const FILE_NAME: &str = "view.json";

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptView {
    split: Split,
    wrap: bool,
    times: LogTimes,
}

impl Default for KeptView {
    fn default() -> Self {
        Self {
            split: Split::default(),
            wrap: true,
            times: LogTimes::default(),
        }
    }
}

impl KeptView {
    /// Reads what an earlier start has kept.
    pub fn load() -> Self {
        find_file().map_or_else(Self::default, |path| Self::load_from(&path))
    }

    /// Keeps how the dashboard shows things.
    pub fn save(self) {
        let Some(path) = find_file() else { return };
        if let Err(error) = self.save_to(&path) {
            tracing::warn!(%error, path = %path.display(), "the view is not kept");
        }
    }

    /// Reads how the dashboard shows things now.
    pub fn of_model(model: &Model) -> Self {
        Self {
            split: model.split,
            wrap: model.log_view.wrap,
            times: model.log_view.times,
        }
    }

    /// Shows things in this way.
    pub fn apply(self, model: &mut Model) {
        // A file that was edited may have a border where there is none.
        model.split = self.split.step(0);
        model.log_view.wrap = self.wrap;
        model.log_view.times = self.times;
    }

    fn load_from(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Writes the file in one step: another dashboard may read it.
    fn save_to(self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&fresh, serde_json::to_string(&self)?)?;
        fs::rename(&fresh, path)
    }
}

fn find_file() -> Option<PathBuf> {
    Some(find_state_folder()?.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_as_it_was_and_a_file_of_others_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join(FILE_NAME);
        assert_eq!(KeptView::load_from(&path), KeptView::default());
        let view = KeptView {
            split: Split::default().step(-3),
            wrap: false,
            times: LogTimes::Relative,
        };
        view.save_to(&path).unwrap();
        assert_eq!(KeptView::load_from(&path), view);
        fs::write(&path, "{\"split\": \"wide\"}").unwrap();
        assert_eq!(KeptView::load_from(&path), KeptView::default());
    }
}
