//! Makes the virtual environment of a service: built aside, known by its marker to be whole, then put in place by one
//! rename of a link. What an interrupted install leaves is never used, and removed by the next.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    CURRENT, Environments, Installed, InstalledLock, MARKER, REQUIREMENTS, Service, State,
    setup::{NO_PYTHON, PackageSet, Setup},
};

/// How long nothing may be heard before a line reports that the work goes on.
const SILENCE: Duration = Duration::from_secs(10);
/// Lines of a failed program that the error repeats.
const TAIL: usize = 8;

/// Makes the environment unless it is there already; `again` makes it in any case. `say` gets a line at a time.
pub fn install(
    environments: &Environments,
    service: &Service,
    setup: &Setup,
    again: bool,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let folder = environments.folder(&service.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).with_context(|| format!("cannot write into {}", folder.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("{} is being installed by another process", service.name),
        Err(TryLockError::Error(error)) => return Err(error).context(format!("cannot lock {}", folder.display())),
    }
    if environments.state(service) == State::Ready && !again {
        say(&format!(
            "{} is installed already, in {}",
            service.name,
            folder.join(CURRENT).display()
        ));
        return Ok(());
    }
    remove_unused(&folder);
    let start = Instant::now();
    let fresh = folder.join(format!(
        "env-{}-{}",
        &service.hash()[..8],
        uuid::Uuid::now_v7().simple()
    ));
    say(&format!("{}: making {}", service.name, fresh.display()));
    let built = build(setup, &fresh, start, say);
    if let Err(error) = built.and_then(|()| put_in_place(&folder, &fresh, service, &setup.packages)) {
        let _ = fs::remove_dir_all(&fresh);
        let command = environments.command(&format!("nodes install {}", service.name));
        return Err(error.context(format!(
            "{} was not installed and nothing was changed; to try again: {command}",
            service.name
        )));
    }
    remove_unused(&folder);
    say(&format!(
        "{}: ready after {:.0} s",
        service.name,
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn build(setup: &Setup, fresh: &Path, start: Instant, say: &dyn Fn(&str)) -> anyhow::Result<()> {
    let (python, has_packages) = (&setup.python, !setup.packages.is_empty());
    let mut venv = Command::new(python);
    venv.args(["-m", "venv"]).arg(fresh);
    if !has_packages {
        venv.arg("--without-pip");
    }
    if let Err(failed) = follow(venv, start, say) {
        let advice = match &failed {
            Failed::Start(error) if error.kind() == io::ErrorKind::NotFound => NO_PYTHON,
            Failed::Ended { said, .. } if said.contains("ensurepip") || said.contains("No module named venv") => {
                "its module venv is missing: apt-get install python3-venv"
            }
            _ => "",
        };
        bail!("{}", format!("{python} -m venv: {failed}\n{advice}").trim_end());
    }
    if !has_packages {
        return Ok(());
    }
    let requirements = fresh.join(REQUIREMENTS);
    fs::write(&requirements, &setup.packages.text)
        .with_context(|| format!("cannot write {}", requirements.display()))?;
    for command in setup.commands(fresh, &requirements) {
        follow(command, start, say).map_err(|failed| {
            let installer = setup.installer.name();
            anyhow::anyhow!("{installer} install: {failed}\n{}", setup.advice())
        })?;
    }
    Ok(())
}

fn put_in_place(folder: &Path, fresh: &Path, service: &Service, packages: &PackageSet) -> anyhow::Result<()> {
    let installed = Installed {
        requirements: service.hash(),
        locked: packages.lock.as_ref().map(|lock| InstalledLock {
            profile: lock.profile,
            hash: lock.hash(),
        }),
    };
    let place = || -> io::Result<()> {
        fs::write(
            fresh.join(MARKER),
            serde_json::to_vec(&installed).map_err(io::Error::other)?,
        )?;
        let link = folder.join(format!(".{CURRENT}"));
        let _ = fs::remove_file(&link);
        symlink(fresh.file_name().unwrap_or_default(), &link)?;
        fs::rename(&link, folder.join(CURRENT))
    };
    place().with_context(|| format!("cannot put {} in place", fresh.display()))
}

/// Removes environments that are neither in place nor in use.
fn remove_unused(folder: &Path) {
    let current = fs::read_link(folder.join(CURRENT)).ok();
    let running = running_programs();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_environment = entry.file_name().to_string_lossy().starts_with("env-");
        let is_current = current.as_deref().is_some_and(|current| folder.join(current) == path);
        if is_environment && !is_current && !running.iter().any(|program| program.starts_with(&path)) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// What the programs of this machine were started as.
fn running_programs() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let line = fs::read(process.path().join("cmdline")).ok()?;
            let first = line.split(|byte| *byte == 0).next()?;
            Some(PathBuf::from(String::from_utf8_lossy(first).into_owned()))
        })
        .collect()
}

/// Why a program did not do its part.
enum Failed {
    Start(io::Error),
    Ended { how: String, said: String },
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(error) => write!(f, "it cannot be started: {error}"),
            Self::Ended { how, said } => write!(f, "it ended with {how}; its last lines:\n{said}"),
        }
    }
}

/// Runs a program and passes each line it says on, with the time since `start`.
fn follow(mut command: Command, start: Instant, say: &dyn Fn(&str)) -> Result<(), Failed> {
    let mut child = command
        // Packages must come into the environment itself, wherever the caller's Python is set to look.
        .env_remove("PYTHONPATH")
        .env_remove("PYTHONHOME")
        .env("PYTHONNOUSERSITE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Failed::Start)?;
    let (sender, lines) = mpsc::channel();
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|stream| Box::new(stream) as _),
        child.stderr.take().map(|stream| Box::new(stream) as _),
    ];
    for stream in streams.into_iter().flatten() {
        let sender = sender.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !line.is_empty() && sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut tail = VecDeque::with_capacity(TAIL);
    loop {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                say(&format!("[{:4} s] still at it", start.elapsed().as_secs()));
                continue;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        };
        say(&format!("[{:4} s] {line}", start.elapsed().as_secs()));
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait().map_err(Failed::Start)?;
    if status.success() {
        return Ok(());
    }
    let said: Vec<_> = tail.iter().map(|line| format!("  {line}")).collect();
    Err(Failed::Ended {
        how: status.to_string(),
        said: said.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    struct Bed {
        dir: tempfile::TempDir,
        environments: Environments,
        said: RefCell<Vec<String>>,
    }

    impl Bed {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self {
                environments: Environments::new(dir.path().join("nodes")),
                dir,
                said: RefCell::default(),
            }
        }

        fn install(&self, service: &Service, python: &str, again: bool) -> Result<(), String> {
            let say = |line: &str| self.said.borrow_mut().push(line.to_owned());
            install(&self.environments, service, &Setup::plain(python, service), again, &say)
                .map_err(|error| onceover_types::causes(error.as_ref()))
        }

        fn kept(&self, service: &Service) -> usize {
            let entries = fs::read_dir(self.environments.folder(&service.name)).unwrap().flatten();
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("env-"))
                .count()
        }

        /// A program in the place of python3, which does what the shell script says.
        fn python(&self, script: &str) -> String {
            use std::os::unix::fs::PermissionsExt;
            let path = self.dir.path().join("python");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path.display().to_string()
        }
    }

    fn service(requirements: &str) -> Service {
        Service {
            name: "demo".into(),
            requirements: requirements.into(),
            locked: Vec::new(),
        }
    }

    #[test]
    fn an_environment_is_ready_once_it_is_whole_and_outdated_once_other_packages_are_wanted() {
        let bed = Bed::new();
        let demo = service("# nothing\n");
        assert_eq!(bed.environments.state(&demo), State::Absent);
        assert!(bed.environments.interpreter("demo").is_err());
        bed.install(&demo, "python3", false).unwrap();
        assert_eq!(bed.environments.state(&demo), State::Ready);
        let first = bed.environments.interpreter("demo").unwrap();
        assert!(first.is_file());
        bed.install(&demo, "/nowhere", false).expect("nothing is left to do");

        let other = service("# something else\n");
        assert_eq!(bed.environments.state(&other), State::Outdated);
        bed.install(&other, "python3", false).unwrap();
        assert_eq!(bed.environments.state(&other), State::Ready);
        assert_ne!(bed.environments.interpreter("demo").unwrap(), first);
        assert_eq!(bed.kept(&demo), 1, "the former one is removed");
    }

    #[test]
    fn an_environment_in_use_stays_until_it_is_not() {
        let bed = Bed::new();
        let demo = service("");
        bed.install(&demo, "python3", false).unwrap();
        let first = bed.environments.interpreter("demo").unwrap();
        let mut user = Command::new(&first)
            .args(["-c", "print('up', flush=True); input()"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut up = String::new();
        BufReader::new(user.stdout.take().unwrap()).read_line(&mut up).unwrap();
        bed.install(&demo, "python3", true).unwrap();
        assert_eq!(bed.kept(&demo), 2);
        drop(user.stdin.take());
        user.wait().unwrap();
        bed.install(&demo, "python3", true).unwrap();
        assert_eq!(bed.kept(&demo), 1);
    }

    #[test]
    fn a_failed_install_changes_nothing_and_says_what_to_do() {
        let bed = Bed::new();
        let demo = service("");
        let error = bed.install(&demo, "/nowhere/python3", false).unwrap_err();
        assert!(
            error.contains("/nowhere/python3") && error.contains("apt-get install python3"),
            "{error}"
        );
        let python = bed.python("echo 'ensurepip is not available' >&2; exit 1");
        let error = bed.install(&demo, &python, false).unwrap_err();
        assert!(error.contains("apt-get install python3-venv"), "{error}");
        // Makes an environment whose pip fails.
        let python = bed.python(
            "mkdir -p $3/bin; printf '#!/bin/sh\\necho No matching distribution found for gone; exit 1\\n' >$3/bin/python; chmod +x $3/bin/python",
        );
        let error = bed.install(&service("gone==1"), &python, false).unwrap_err();
        assert!(
            error.contains("No matching distribution") && error.contains("onceoverd nodes install demo"),
            "{error}"
        );
        assert_eq!(bed.environments.state(&demo), State::Absent);
        assert_eq!(bed.kept(&demo), 0);
        assert!(
            bed.said
                .borrow()
                .iter()
                .any(|line| line.contains("s] No matching distribution"))
        );
    }

    #[test]
    fn what_an_interrupted_install_left_never_counts_and_is_removed() {
        let bed = Bed::new();
        let demo = service("");
        let half = bed.environments.folder("demo").join("env-00000000-half");
        fs::create_dir_all(half.join("bin")).unwrap();
        assert_eq!(bed.environments.state(&demo), State::Absent);
        bed.install(&demo, "python3", false).unwrap();
        assert!(!half.exists());
    }
}
