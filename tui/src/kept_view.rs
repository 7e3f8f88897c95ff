//! What the dashboard keeps from one start to the next: how the screen is divided, how logs are shown, filters and
//! order, what is expanded, and where the cursor is. A file that cannot be read is set aside, and everything is as at
//! the first start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use onceover_types::{NodeName, TaskId, text_file::is_absent};
use serde::{Deserialize, Serialize};

use crate::{
    layout::Split,
    log_file::find_state_folder,
    model::{
        Model, Page,
        detail::Tab,
        filter::Filter,
        log_view::LogTimes,
        return_point::{KeptExpansion, ReturnPoint},
        sort::TaskSort,
        tree::{ACTIVE_ONLY, PENDING_ONLY, Tree},
    },
};

/// Name of the file in the user's state folder.
const FILE_NAME: &str = "view.json";
/// Bytes of the largest file that is read.
const LARGEST: u64 = 256 * 1024;
/// Tasks that are kept as expanded or collapsed at most, and bytes of a filter.
const MOST_TASKS: usize = 500;
const LONGEST_FILTER: usize = 2_000;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeptView {
    split: Split,
    wrap: bool,
    times: LogTimes,
    sort: TaskSort,
    filter: Option<String>,
    /// The one-key filter, by its name.
    quick: Option<String>,
    page: String,
    tab: String,
    zoom: bool,
    cursor: Option<KeptCursor>,
    expansion: KeptExpansion,
}

/// The row at the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptCursor {
    task: TaskId,
    node: Option<NodeName>,
}

impl Default for KeptView {
    fn default() -> Self {
        Self {
            split: Split::default(),
            wrap: true,
            times: LogTimes::default(),
            sort: TaskSort::default(),
            filter: None,
            quick: None,
            page: Page::default().name(),
            tab: Tab::default().title().to_owned(),
            zoom: false,
            cursor: None,
            expansion: KeptExpansion::default(),
        }
    }
}

impl KeptView {
    /// Reads what an earlier start has kept. Where that is damaged, the error is for the user.
    pub fn load() -> Result<Self, String> {
        find_file().map_or_else(|| Ok(Self::default()), |path| Self::load_from(&path))
    }

    /// Keeps how the dashboard shows things.
    pub fn save(&self) {
        let Some(path) = find_file() else { return };
        if let Err(error) = self.save_to(&path) {
            tracing::warn!(%error, path = %path.display(), "the view is not kept");
        }
    }

    /// Reads how the dashboard shows things now.
    pub fn of_model(model: &Model) -> Self {
        let tree = &model.tree;
        // Before the first snapshot the user is still where the last start has ended.
        let point = model.return_to.clone().unwrap_or_else(|| read_point(model));
        Self {
            split: model.split,
            wrap: model.log_view.wrap,
            times: model.log_view.times,
            sort: tree.sort,
            filter: tree
                .filter
                .as_ref()
                .map(|filter| filter.text.clone())
                .filter(|text| text.len() <= LONGEST_FILTER),
            quick: tree.quick.as_ref().map(|quick| quick.text.clone()),
            page: point.page.name(),
            tab: model.detail.tab.title().to_owned(),
            zoom: point.zoom,
            cursor: point.cursor.map(|(task, node)| KeptCursor { task, node }),
            expansion: point.expansion,
        }
    }

    /// Shows things in this way; what depends on tasks waits for the first snapshot.
    pub fn apply(self, model: &mut Model) {
        // A file that was edited may have a border where there is none.
        model.split = self.split.step(0);
        model.log_view.wrap = self.wrap;
        model.log_view.times = self.times;
        model.tree.sort = self.sort;
        // The task that is asked for must not be hidden.
        if model.wanted.is_none() {
            // A query of another version may not be understood any more.
            model.tree.filter = self.filter.and_then(|text| Filter::parse(&text).ok().flatten());
            restore_quick(&mut model.tree, self.quick.as_deref());
        }
        model.tree.changed();
        let tab = Tab::ALL.into_iter().find(|tab| tab.title() == self.tab);
        model.detail.tab = tab.unwrap_or_default();
        let page = Page::ALL.into_iter().find(|page| page.name() == self.page);
        model.return_to = Some(ReturnPoint {
            page: page.unwrap_or_default(),
            cursor: self.cursor.map(|cursor| (cursor.task, cursor.node)),
            expansion: self.expansion,
            zoom: self.zoom,
        });
    }

    fn load_from(path: &Path) -> Result<Self, String> {
        let text = match fs::metadata(path) {
            Ok(metadata) if metadata.len() > LARGEST => Err("it is too large".to_owned()),
            Ok(_) => fs::read_to_string(path).map_err(|error| error.to_string()),
            Err(error) if is_absent(&error) => return Ok(Self::default()),
            Err(error) => Err(error.to_string()),
        };
        let kept = text.and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()));
        kept.map_err(|why| {
            let aside = path.with_extension("json.damaged");
            match fs::rename(path, &aside) {
                Ok(()) => format!("the kept view cannot be read and is now {}: {why}", aside.display()),
                Err(_) => format!("the kept view cannot be read ({}): {why}", path.display()),
            }
        })
    }

    /// Writes the file in one step: another dashboard may read it.
    fn save_to(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&fresh, serde_json::to_string(self)?)?;
        fs::rename(&fresh, path)
    }
}

/// Reads where the user is.
fn read_point(model: &Model) -> ReturnPoint {
    let cursor = model.tree.cursor.as_ref().filter(|_| model.tree.touched);
    ReturnPoint {
        page: model.page,
        cursor: cursor.map(|row| ((*row.task).clone(), row.node.as_deref().cloned())),
        expansion: read_expansion(model),
        zoom: model.zoom,
    }
}

/// Reads which tasks show their stages: those that do, or those that do not, whichever are fewer.
fn read_expansion(model: &Model) -> KeptExpansion {
    let shown = &model.tree.expanded;
    let all = model.store.len();
    if all == 0 {
        return KeptExpansion::default();
    }
    // Tasks that were removed can be among the expanded ones.
    let count = model.store.tasks().filter(|task| shown.contains(&task.id)).count();
    let mostly_shown = count * 2 > all;
    let unusual = model
        .store
        .tasks()
        .filter(|task| shown.contains(&task.id) != mostly_shown);
    KeptExpansion {
        mostly_shown: Some(mostly_shown),
        except: unusual.take(MOST_TASKS).map(|task| (*task.id).clone()).collect(),
    }
}

/// Restores the one-key filter with this name.
fn restore_quick(tree: &mut Tree, name: Option<&str>) {
    let filter = [PENDING_ONLY, ACTIVE_ONLY]
        .into_iter()
        .find(|filter| name == Some(filter.name));
    if let Some(filter) = filter {
        tree.toggle_quick(&filter);
    }
}

fn find_file() -> Option<PathBuf> {
    Some(find_state_folder()?.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use onceover_types::Timestamp;

    use super::*;
    use crate::model::sort::SortColumn;

    fn empty_model() -> Model {
        Model::new("http://127.0.0.1:8788", Timestamp::from_millis(0), (80, 24))
    }

    #[test]
    fn tui25_what_is_kept_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state").join(FILE_NAME);
        assert_eq!(KeptView::load_from(&path), Ok(KeptView::default()));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(KeptView::load_from(&file.join(FILE_NAME)), Ok(KeptView::default()));
        let view = KeptView {
            split: Split::default().step(-3),
            wrap: false,
            times: LogTimes::Relative,
            sort: TaskSort::by(SortColumn::Created),
            filter: Some("state:failed node:whisper*".to_owned()),
            quick: Some("active only".to_owned()),
            page: Page::Videos.name(),
            tab: Tab::Output.title().to_owned(),
            zoom: true,
            cursor: Some(KeptCursor {
                task: TaskId::parse("film").unwrap(),
                node: Some(NodeName::parse("ffmpeg.extract_audio").unwrap()),
            }),
            expansion: KeptExpansion {
                mostly_shown: Some(false),
                except: vec![TaskId::parse("film").unwrap()],
            },
        };
        view.save_to(&path).unwrap();
        let kept = KeptView::load_from(&path).unwrap();
        assert_eq!(kept, view);
        // Where there was no snapshot, nothing of it is lost.
        let mut model = empty_model();
        kept.apply(&mut model);
        assert_eq!(KeptView::of_model(&model), view);
    }

    #[test]
    fn tui25_a_damaged_file_is_reported_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for text in [
            "{\"split\": \"wide\"}",
            "{",
            "7",
            "{\"cursor\": {\"task\": \"a b\\n\"}}",
        ] {
            fs::write(&path, text).unwrap();
            let report = KeptView::load_from(&path).unwrap_err();
            assert!(report.contains("view.json.damaged"), "{report}");
            assert!(!path.exists() && folder.path().join("view.json.damaged").exists());
        }
        // Fields of other versions do no harm.
        fs::write(
            &path,
            "{\"wrap\": false, \"page\": \"galaxy\", \"filter\": \"state:(\", \"more\": 1}",
        )
        .unwrap();
        let mut model = empty_model();
        KeptView::load_from(&path).unwrap().apply(&mut model);
        assert!(!model.log_view.wrap && model.tree.filter.is_none());
        assert_eq!(model.return_to.unwrap().page, Page::Tasks);
    }
}
