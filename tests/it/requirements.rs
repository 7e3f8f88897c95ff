//! Each requirement of docs/reliability.md has a test that is named after it, `req<number>_...`.

use std::{collections::BTreeSet, process::Command};

/// What this program lists, without the names of modules.
fn listed(more: &[&str]) -> BTreeSet<String> {
    let output = Command::new(std::env::current_exe().expect("a test knows its own path"))
        .args(["--list", "--format", "terse"])
        .args(more)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines()
        .filter_map(|line| line.strip_suffix(": test")?.rsplit("::").next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_requirement_has_a_test_that_runs_and_is_named_after_it() {
    let ignored = listed(&["--ignored"]);
    let tests = listed(&[]);
    let run: Vec<_> = tests.difference(&ignored).collect();
    let numbers = (1..=6).chain(8..=21).chain(25..=28).chain(30..=31);
    let missing: Vec<u32> = numbers
        .filter(|number| !run.iter().any(|name| name.starts_with(&format!("req{number}_"))))
        .collect();
    assert!(missing.is_empty(), "no test for the requirements {missing:?}");
}
