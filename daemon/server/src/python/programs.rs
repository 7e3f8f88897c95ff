//! Unpacks the shipped programs into a folder named by what they are: a daemon of another version has another one, so
//! nothing is changed under a program that runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use include_dir::{Dir, File};

use onceover_catalog::shipped::ASSETS;

/// Files of programs, by path; node files are read from the daemon itself.
fn files<'a>(dir: &'a Dir<'a>, into: &mut Vec<&'a File<'a>>) {
    into.extend(dir.files().filter(|file| {
        file.path()
            .extension()
            .is_none_or(|suffix| suffix != "toml" && suffix != "pyc")
    }));
    for dir in dir.dirs().filter(|dir| !dir.path().ends_with("__pycache__")) {
        files(dir, into);
    }
}

/// Puts the programs below `<root>/<hash>` and gives that folder. What other versions left is removed: the daemon that
/// owns `root` has ended every program of an earlier one.
pub fn unpack(root: &Path) -> io::Result<PathBuf> {
    let mut programs = Vec::new();
    files(&ASSETS, &mut programs);
    programs.sort_by_key(|file| file.path());
    let mut hasher = blake3::Hasher::new();
    for file in &programs {
        for part in [file.path().as_os_str().as_encoded_bytes(), file.contents()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    let hash = &hasher.finalize().to_hex()[..16];
    let folder = root.join(hash);
    fs::create_dir_all(root)?;
    if !folder.is_dir() {
        let fresh = root.join(format!(".{hash}.{}", std::process::id()));
        for file in &programs {
            let path = fresh.join(file.path());
            fs::create_dir_all(path.parent().unwrap_or(&fresh))?;
            fs::write(path, file.contents())?;
        }
        fs::create_dir_all(&fresh)?;
        fs::rename(&fresh, &folder)?;
    }
    for entry in fs::read_dir(root)?.flatten() {
        if entry.path() != folder {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_unpacked_once_and_other_versions_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("programs");
        fs::create_dir_all(root.join("0123456789abcdef/old")).unwrap();
        let folder = unpack(&root).unwrap();
        let mut shipped = Vec::new();
        files(&ASSETS, &mut shipped);
        for file in shipped {
            assert_eq!(fs::read(folder.join(file.path())).unwrap(), file.contents());
        }
        assert!(!folder.join("ffmpeg.extract_audio.toml").exists());
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        fs::write(folder.join("trace"), "").unwrap();
        assert_eq!(unpack(&root).unwrap(), folder);
        assert!(folder.join("trace").exists(), "it was unpacked again");
    }
}
