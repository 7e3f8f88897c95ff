//! `onceoverd nodes install`: it tells sizes first, names what it does not know, and makes and checks environments.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use onceover_tests::program;

/// Runs `onceoverd nodes install` on a data folder, with no variables but the PATH.
fn install(data: &Path, words: &[&str]) -> (Output, String) {
    install_by(&std::env::var_os("PATH").unwrap_or_default(), data, words)
}

fn install_by(programs: &OsStr, data: &Path, words: &[&str]) -> (Output, String) {
    let mut command = Command::new(program("onceoverd"));
    command
        .env_clear()
        .env("PATH", programs)
        .env("ONCEOVER_MODELS", data.join("models"))
        // Nothing answers there.
        .env("ONCEOVER_TORCH_INDEX", "http://127.0.0.1:1/cpu")
        .args(["nodes", "install"])
        .args(words)
        .arg("--data")
        .arg(data);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output, said)
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no '{part}' in {said}");
    }
}

#[test]
fn a_dry_run_tells_the_sizes_of_packages_and_models_and_makes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let words = ["--pipeline", "subtitles", "--models", "--dry-run", "--profile"];
    let told = |profile: &str| {
        let (output, said) = install(data.path(), &[&words[..], &[profile]].concat());
        assert!(output.status.success(), "{said}");
        said
    };
    let cpu = told("cpu");
    let model = data.path().join("models/Systran/faster-whisper-base");
    assert_says(
        &cpu,
        &[
            "profile   cpu",
            "faster_whisper: ",
            "to download",
            "model Systran/faster-whisper-base: about 141.14 MiB",
            model.to_str().unwrap(),
            "in all ",
        ],
    );
    assert!(!cpu.contains("paddleocr"), "{cpu}");
    assert_says(
        &told("cuda"),
        &["profile   cuda", "Systran/faster-whisper-large-v3: about 2.88 GiB"],
    );
    assert!(!data.path().join("nodes").exists() && !data.path().join("models").exists());
}

#[test]
fn what_is_not_known_is_refused_with_what_there_is() {
    let data = tempfile::tempdir().unwrap();
    for (words, parts) in [
        (&["--profile", "gpu"][..], &["'gpu'", "cpu, cuda"][..]),
        (&["paddle"], &["'paddle'", "faster_whisper", "paddleocr", "all"]),
        (&["--pipeline", "subtitle"], &["'subtitle'", "hard-subtitles"]),
        (&["--installer", "conda"], &["'conda'", "auto", "uv", "pip"]),
        (
            &["faster_whisper", "--python", "/nowhere/python3"],
            &["/nowhere/python3", "--python"],
        ),
    ] {
        let (output, said) = install(data.path(), words);
        assert!(!output.status.success(), "{words:?}: {said}");
        assert_says(&said, parts);
    }
    assert!(!data.path().join("nodes").exists());
}

#[test]
fn everything_is_installed_only_where_that_was_said() {
    let data = tempfile::tempdir().unwrap();
    let (output, said) = install(data.path(), &["--profile", "cpu"]);
    assert!(!output.status.success(), "{said}");
    assert_says(&said, &["faster_whisper: ", "funasr: ", "in all ", "--yes"]);
    assert!(!data.path().join("nodes").exists());
}

/// A configuration with a node whose program is Python, beside these requirements.
fn python_node(data: &Path, requirements: &str) -> String {
    let config = data.join("onceover.toml");
    fs::write(
        &config,
        "[[nodes]]\nname = 'fixture.report'\nqueue = 'io'\nrunner = { python = 'report.py' }\n",
    )
    .unwrap();
    fs::write(data.join("report.py"), "").unwrap();
    fs::write(data.join("requirements.txt"), requirements).unwrap();
    config.display().to_string()
}

#[test]
fn uv_installs_and_checks_where_it_is_on_the_path() {
    let data = tempfile::tempdir().unwrap();
    let config = python_node(data.path(), "no-such-package==1\n");
    // In its place a program that notes what it is asked for.
    let programs = data.path().join("bin");
    fs::create_dir(&programs).unwrap();
    let (uv, asked) = (programs.join("uv"), data.path().join("asked"));
    fs::write(&uv, format!("#!/bin/sh\necho \"$@\" >>{}\n", asked.display())).unwrap();
    fs::set_permissions(&uv, fs::Permissions::from_mode(0o755)).unwrap();
    let mut path = OsString::from(&programs);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let (output, said) = install_by(&path, data.path(), &["fixture", "--check", "--config", &config]);
    assert!(output.status.success(), "{said}");
    assert_says(&said, &["by uv", "packages of unknown size", "packages fit each other"]);
    let asked = fs::read_to_string(&asked).unwrap();
    let lines: Vec<_> = asked.lines().collect();
    assert_eq!(lines.len(), 2, "{asked}");
    assert!(lines[0].starts_with("pip install --python "), "{asked}");
    assert!(lines[0].contains("/bin/python --requirement "), "{asked}");
    assert!(lines[1].starts_with("pip check --python "), "{asked}");
}

#[test]
fn an_environment_is_made_and_checked_with_one_command() {
    let data = tempfile::tempdir().unwrap();
    let config = python_node(data.path(), "# nothing beside Python\n");
    let words = ["fixture", "--check", "--config", &config];
    let (output, said) = install(data.path(), &words);
    assert!(output.status.success(), "{said}");
    assert_says(&said, &["fixture: ready after"]);
    let (output, said) = install(data.path(), &words);
    assert!(output.status.success(), "{said}");
    assert_says(&said, &["fixture: is installed"]);
    let left: Vec<_> = fs::read_dir(data.path().join("nodes")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "the programs that checked it are removed: {left:?}");
}
