//! Finds the files below a folder that may be videos, by their names. Whether one is a video is decided by ffprobe, at
//! the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use onceover_types::VideoId;
use onceover_wire::Video;

/// The suffixes of video files.
const SUFFIXES: [&str; 29] = [
    "3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gxf", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4", "mpeg",
    "mpg", "mts", "mxf", "nut", "ogm", "ogv", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv",
];
/// Characters of a file's name that its video's id begins with, at most.
const LONGEST_SLUG: usize = 60;

/// A file that may be a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// The absolute path on this machine, with links followed.
    pub path: PathBuf,
    /// The path below the folder, for people.
    pub name: String,
    size: u64,
    modified_nanos: u128,
}

/// The files that a walk has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FolderSearch {
    /// Sorted by path.
    pub files: Vec<FoundFile>,
    /// Folders and files that cannot be read, and why.
    pub unreadable: Vec<(FoundFile, String)>,
}

impl FolderSearch {
    fn add_unreadable(&mut self, folder: &Path, path: PathBuf, error: &io::Error) {
        let file = FoundFile {
            name: name_below(folder, &path),
            path,
            size: 0,
            modified_nanos: 0,
        };
        self.unreadable.push((file, format!("cannot read it: {error}")));
    }
}

/// Shortens a path to what is below the folder, for people.
fn name_below(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

/// There are more files than are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

impl FoundFile {
    fn new(folder: &Path, path: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Self {
            name: name_below(folder, path),
            path: fs::canonicalize(path)?,
            size: metadata.len(),
            modified_nanos: since.as_nanos(),
        }))
    }

    /// Makes the id that the file is registered under: the same for the same path, size and time of change.
    pub fn video_id(&self) -> Option<VideoId> {
        let seed = format!("{}\0{}\0{}", self.path.display(), self.size, self.modified_nanos);
        let hash = blake3::hash(seed.as_bytes()).to_hex();
        let stem = self
            .path
            .file_stem()
            .map(|stem| stem.to_string_lossy())
            .unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let slug: String = stem.chars().map(plain).take(LONGEST_SLUG).collect();
        let slug = slug.trim_matches(|c| matches!(c, '-' | '_'));
        let slug = if slug.is_empty() { "video" } else { slug };
        VideoId::parse(&format!("{slug}-{}", &hash[..12])).ok()
    }

    /// Whether the video was registered from this file as it is now, under any id.
    pub fn is_video(&self, video: &Video) -> bool {
        let changed_ms = i64::try_from(self.modified_nanos / 1_000_000).unwrap_or(i64::MAX);
        Path::new(&video.path) == self.path
            && video.probe.size == self.size
            && video.created_at.as_millis() >= changed_ms
    }
}

/// Walks the folder. Skips hidden files and folders and what is below one of `but_not`; does not follow links to
/// folders.
pub fn find_videos(folder: &Path, but_not: &[PathBuf], most: usize) -> io::Result<Result<FolderSearch, TooMany>> {
    let mut found = FolderSearch::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(error) if dir == folder => return Err(error),
            Err(error) => {
                found.add_unreadable(folder, dir, &error);
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries {
            let entry = entry?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.as_encoded_bytes().starts_with(b".") || but_not.contains(&path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if has_suffix(&path) {
                match FoundFile::new(folder, &path) {
                    Ok(file) => found.files.extend(file),
                    Err(error) => found.add_unreadable(folder, path, &error),
                }
                if found.files.len() > most {
                    return Ok(Err(TooMany));
                }
            }
        }
    }
    found.files.sort_by(|one, other| one.path.cmp(&other.path));
    // Two links to one file are one video.
    found.files.dedup_by(|one, other| one.path == other.path);
    Ok(Ok(found))
}

fn has_suffix(path: &Path) -> bool {
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix.to_ascii_lowercase().as_str()))
}
