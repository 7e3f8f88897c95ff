//! Inputs that are a zip of a folder's files. They are unpacked below the run's folder, never elsewhere.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use onceover_types::humane;
use zip::ZipArchive;

use crate::input::{Input, compute, create_folder};
use onceover_limits::Limit;
use onceover_run::{RunContext, RunError};

/// Bytes all files of an archive may have.
pub const MOST_BYTES: u64 = 64 << 30;

/// Returns the folder a parameter names, or what its zip file holds.
pub(super) async fn folder(context: &RunContext, name: &str, unpack: bool) -> Result<PathBuf, RunError> {
    let given = Input(context).file_or_folder(name)?;
    if given.is_folder() {
        return Ok(given.to_path_buf());
    }
    let error = |why: String| RunError::failed(format!("input_data.{name}: {} {why}", given.display()));
    let is_zip = given
        .extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("zip"));
    if !is_zip {
        return Err(error("is a file; give a folder, or a .zip file of one".into()));
    }
    if !unpack {
        return Err(error(
            "is an archive, and auto_decompress is false; give the folder".into(),
        ));
    }
    let into = create_folder(context, "unpacked")?;
    context.progress.report(0.0, Some("unpacking".into()));
    let unpacked = {
        let (given, into, cancel) = (given.clone(), into.clone(), context.cancel.clone());
        compute(move || Ok(unpack_zip(&given, &into, MOST_BYTES, || cancel.is_cancelled()))).await?
    };
    match unpacked {
        Ok(()) => Ok(into),
        Err(_) if context.cancel.is_cancelled() => Err(RunError::Interrupted),
        Err(why) => Err(error(format!("cannot be unpacked: {why}"))),
    }
}

/// Unpacks all files of an archive into one folder, under their own names: folders inside it, and links, are not made.
/// They have `most` bytes together at most.
fn unpack_zip(archive: &Path, into: &Path, most: u64, stop: impl Fn() -> bool) -> Result<(), String> {
    let mut archive = ZipArchive::new(File::open(archive).map_err(in_words)?).map_err(|why| why.to_string())?;
    let mut left = most;
    for index in 0..archive.len() {
        if stop() {
            return Err("interrupted".into());
        }
        let mut member = archive.by_index(index).map_err(|why| why.to_string())?;
        if !member.is_file() {
            continue;
        }
        let path = member
            .enclosed_name()
            .ok_or_else(|| format!("its member {} leads out of it", index + 1))?;
        let Some(name) = path.file_name() else { continue };
        let target = into.join(name);
        let mut file = File::create_new(&target).map_err(|why| format!("{}: {why}", name.display()))?;
        let written = io::copy(&mut io::Read::take(&mut member, left + 1), &mut file).map_err(in_words)?;
        left = left.checked_sub(written).ok_or_else(|| {
            Limit::Archive.reached();
            format!("it holds more than {}", humane::bytes(most))
        })?;
    }
    Ok(())
}

fn in_words(why: io::Error) -> String {
    why.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn an_archive_that_holds_more_than_it_may_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("in.zip");
        zip(&path, &["1234.jpg", "5678.jpg"]);
        let into = temp.path().join("into");
        std::fs::create_dir(&into).unwrap();
        let before = Limit::Archive.times_reached();
        let error = unpack_zip(&path, &into, 15, || false).unwrap_err();
        assert_eq!(error, "it holds more than 15 B");
        assert!(Limit::Archive.times_reached() > before);
    }

    fn zip(path: &Path, members: &[&str]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for member in members {
            zip.start_file(*member, SimpleFileOptions::default()).unwrap();
            zip.write_all(member.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    fn fixture(members: &[&str]) -> Fixture {
        Fixture::with_input("paddleocr.create_stitched_images", |fixture| {
            let path = fixture.path("frames.zip");
            zip(&path, members);
            json!({"cropped_images_path": path})
        })
    }

    #[tokio::test]
    async fn a_zip_stands_for_the_folder_of_its_files() {
        let fixture = fixture(&["frames/00000001.jpg", "00000002.jpg"]);
        let unpacked = folder(&fixture.context, "cropped_images_path", true).await.unwrap();
        assert!(unpacked.starts_with(&fixture.context.dir));
        assert_eq!(
            std::fs::read(unpacked.join("00000001.jpg")).unwrap(),
            b"frames/00000001.jpg"
        );
        assert!(unpacked.join("00000002.jpg").exists());
        let error = folder(&fixture.context, "cropped_images_path", false)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("auto_decompress"), "{error}");
    }

    #[tokio::test]
    async fn d34_a_member_that_leads_out_of_the_archive_is_refused() {
        for member in ["../00000001.jpg", "/tmp/00000001.jpg"] {
            let fixture = fixture(&[member]);
            match folder(&fixture.context, "cropped_images_path", true).await {
                // An absolute name is taken as one inside the archive.
                Ok(unpacked) => assert!(unpacked.join("00000001.jpg").exists()),
                Err(why) => assert!(why.to_string().contains("leads out"), "{why}"),
            }
            assert!(!fixture.context.dir.join("00000001.jpg").exists());
            assert!(!Path::new("/tmp/00000001.jpg").exists());
        }
    }

    #[tokio::test]
    async fn what_is_no_archive_says_so() {
        let fixture = Fixture::with_input(
            "paddleocr.create_stitched_images",
            |fixture| json!({"cropped_images_path": fixture.file("frames.zip", "no zip"), "local": fixture.file("a.tar", "")}),
        );
        let error = folder(&fixture.context, "cropped_images_path", true).await.unwrap_err();
        assert!(error.to_string().contains("cannot be unpacked"), "{error}");
        let error = folder(&fixture.context, "local", true).await.unwrap_err();
        assert!(error.to_string().contains(".zip"), "{error}");
    }
}
