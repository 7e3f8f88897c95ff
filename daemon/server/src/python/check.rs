//! Checks a finished environment: that its packages fit each other, and what the service's own check.py finds, which imports
//! the libraries, looks for the device and does a tiny run.

use std::{
    path::Path,
    process::{Command, Output},
};

use anyhow::Context;
use onceover_catalog::Profile;

use super::{
    Environments, Service,
    setup::{Installer, has_packages},
};

/// The program that checks a service, beside its others.
const PROGRAM: &str = "check.py";
/// Lines that are repeated of what a failed program has written.
const TAIL: usize = 8;

/// What a check has found.
#[derive(Debug)]
pub struct CheckReport {
    pub lines: Vec<String>,
    pub is_in_order: bool,
}

/// Checks the environment of a service with the shipped programs, which lie in `programs`.
pub fn check(
    environments: &Environments,
    service: &Service,
    profile: Profile,
    installer: &Installer,
    programs: &Path,
) -> anyhow::Result<CheckReport> {
    let python = environments.interpreter(&service.name).with_context(|| {
        let install = environments.command(&format!("nodes install {}", service.name));
        format!(
            "the Python environment of {} is not installed; run: {install}",
            service.name
        )
    })?;
    let mut report = CheckReport {
        lines: Vec::new(),
        is_in_order: true,
    };
    let environment = python.ancestors().nth(2).unwrap_or(&python);
    // One without packages has no pip either.
    if has_packages(&service.requirements) {
        let mut fits = run(installer.command("check", environment))?;
        if fits.status.success() {
            // pip and uv say it in different words.
            fits.stdout = b"packages fit each other".to_vec();
        }
        report.add(&fits, "packages");
    }
    let program = programs.join(&service.name).join(PROGRAM);
    if program.is_file() {
        let mut command = Command::new(&python);
        command.arg("-B").arg(program).arg(profile.as_str());
        command.env("PYTHONPATH", programs).env("PYTHONNOUSERSITE", "1");
        report.add(&run(command)?, "check");
    }
    Ok(report)
}

fn run(mut command: Command) -> anyhow::Result<Output> {
    let program = command.get_program().to_owned();
    command
        .output()
        .with_context(|| format!("cannot start {}", program.display()))
}

impl CheckReport {
    /// Adds what a program has printed, and where it failed the end of what it has written beside that.
    fn add(&mut self, output: &Output, what: &str) {
        let lines = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        };
        self.lines.extend(lines(&output.stdout));
        if output.status.success() {
            return;
        }
        self.is_in_order = false;
        let written = lines(&output.stderr);
        let end = written.len().saturating_sub(TAIL);
        self.lines.extend(written[end..].iter().map(|line| format!("  {line}")));
        self.lines.push(format!("{what} ended with {}", output.status));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::python::{Setup, install};

    #[test]
    fn a_check_tells_what_the_services_program_prints_and_fails_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let environments = Environments::new(dir.path().join("nodes"));
        let demo = Service {
            name: "demo".into(),
            requirements: String::new(),
            locked: Vec::new(),
        };
        let programs = dir.path().join("programs");
        fs::create_dir_all(programs.join("demo")).unwrap();
        let checked = || check(&environments, &demo, Profile::Cuda, &Installer::Pip, &programs);
        let error = format!("{:#}", checked().unwrap_err());
        assert!(error.contains("onceoverd nodes install demo"), "{error}");

        install(&environments, &demo, &Setup::plain("python3", &demo), false, &|_| {}).unwrap();
        assert_eq!(checked().unwrap().lines, [""; 0]);
        let program = programs.join("demo").join(PROGRAM);
        let script = "import sys, shared\nprint('device  ', sys.argv[1], shared.WORD)\n";
        fs::write(programs.join("shared.py"), "WORD = 'shared'\n").unwrap();
        fs::write(&program, script).unwrap();
        let report = checked().unwrap();
        assert!(report.is_in_order, "{report:?}");
        assert_eq!(report.lines, ["device   cuda shared"]);
        fs::write(&program, format!("{script}sys.exit('no such library')\n")).unwrap();
        let report = checked().unwrap();
        assert!(!report.is_in_order, "{report:?}");
        assert!(
            report.lines.iter().any(|line| line.contains("no such library")),
            "{report:?}"
        );
    }
}
