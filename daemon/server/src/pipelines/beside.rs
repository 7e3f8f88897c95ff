//! Subtitles that lie beside a video under its name: `clip.srt` or `clip.en.srt` for `clip.mp4`.

use std::{fs, path::Path};

use onceover_catalog::pipeline::StepSpec;
use onceover_wire::Video;

/// Kinds of subtitle files, the first found counts.
const SUFFIXES: [&str; 5] = ["srt", "vtt", "ass", "ssa", "ttml"];

/// The file beside a video that a step refers to; None: it does not refer to it, or there is none.
pub(super) async fn subtitles_for(spec: &StepSpec, video: &Video) -> Option<String> {
    if !spec.needs_to_know_subtitles() {
        return None;
    }
    let path = video.path.clone();
    let found = tokio::task::spawn_blocking(move || subtitles(Path::new(&path)));
    found.await.ok().flatten()
}

/// The one with the video's whole name before those with something after it; then by kind, then by name.
fn subtitles(video: &Path) -> Option<String> {
    let stem = video.file_stem()?.to_str()?;
    let rank = |name: &str| {
        let (base, suffix) = name.rsplit_once('.')?;
        let kind = SUFFIXES.iter().position(|known| suffix.eq_ignore_ascii_case(known))?;
        let more = base.strip_prefix(stem)?;
        (more.is_empty() || more.starts_with('.')).then_some((!more.is_empty(), kind))
    };
    let names = fs::read_dir(video.parent()?).ok()?.flatten();
    let named = names.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((rank(&name)?, name))
    });
    let (_, name) = named.min()?;
    let path = video.with_file_name(name);
    path.is_file().then(|| path.to_str().map(ToOwned::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_videos_own_name_is_found_first() {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("talk.v2.mp4");
        let found = || subtitles(&video).map(|path| path.rsplit('/').next().unwrap().to_owned());
        for name in ["talk.v2.mp4", "talk.v2x.srt", "talk.srt", "talk.v2.txt"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(found(), None);
        for (name, expected) in [
            ("talk.v2.fr.vtt", "talk.v2.fr.vtt"),
            ("talk.v2.en.srt", "talk.v2.en.srt"),
            ("talk.v2.ass", "talk.v2.ass"),
            ("talk.v2.SRT", "talk.v2.SRT"),
        ] {
            fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(found().as_deref(), Some(expected));
        }
    }
}
