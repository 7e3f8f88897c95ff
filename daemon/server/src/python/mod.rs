//! Nodes that are Python programs: where their programs are unpacked to, and the virtual environment of each service
//! they run in. `install` makes one; what else a node needs is judged in `readiness`.

mod check;
mod install;
mod lock;
mod programs;
mod setup;

use std::{
    fs,
    path::{Path, PathBuf},
};

use onceover_catalog::{NodeSpec, Profile, RunnerSpec};
use onceover_types::NodeName;
use serde::{Deserialize, Serialize};

pub use self::{
    check::{CheckReport, check},
    install::install,
    lock::{InstallSize, LockCoverage, LockedPackages},
    programs::unpack,
    setup::{Installer, Interpreter, PackageSet, Setup, TorchIndex},
};
use onceover_catalog::shipped::ASSETS;

/// Name of the file beside a program that lists its packages, as pip reads it.
pub const REQUIREMENTS: &str = "requirements.txt";
/// The link to a service's finished environment.
const CURRENT: &str = "venv";
/// Written into an environment when all of its packages are there.
const MARKER: &str = "onceover.json";

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Installed {
    /// Hash of the requirements that were installed.
    requirements: String,
    /// The locked packages that were; none in an environment of the newest releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locked: Option<InstalledLock>,
}

/// Which locked packages an environment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InstalledLock {
    profile: Profile,
    hash: String,
}

/// Nodes whose programs share one virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name of the folder the environment lies in, `faster_whisper`.
    pub name: String,
    /// Text of the requirements file; empty where there is none.
    pub requirements: String,
    /// What it was locked to, by profile; empty for programs that are not shipped.
    pub locked: Vec<LockedPackages>,
}

impl Service {
    /// The service of a node; None for one that is no Python program. The error is for people.
    pub fn of(node: &NodeSpec) -> Result<Option<Self>, String> {
        Self::of_runner(&node.name, &node.runner)
    }

    /// The same of a runner that the node has for some requests.
    pub fn of_runner(node: &NodeName, runner: &RunnerSpec) -> Result<Option<Self>, String> {
        let RunnerSpec::Python(program, _) = runner else {
            return Ok(None);
        };
        let path = Path::new(program);
        if path.is_absolute() {
            if !path.is_file() {
                return Err(format!("runner.python: there is no file {program}"));
            }
            let file = path.with_file_name(REQUIREMENTS);
            let requirements = match fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(format!("runner.python: {} cannot be read: {error}", file.display())),
            };
            let name = node.service().to_owned();
            let locked = Vec::new();
            return Ok(Some(Self {
                name,
                requirements,
                locked,
            }));
        }
        let folder = path.parent().and_then(Path::to_str).unwrap_or_default();
        if folder.is_empty() || folder.contains(['/', '.']) || ASSETS.get_file(path).is_none() {
            return Err(format!(
                "runner.python: '{program}' is no shipped program; give <service>/<method>.py, or a file beside the node's own"
            ));
        }
        let requirements = ASSETS.get_file(path.with_file_name(REQUIREMENTS));
        let requirements = requirements.and_then(|file| file.contents_utf8()).unwrap_or_default();
        Ok(Some(Self {
            name: folder.to_owned(),
            requirements: requirements.to_owned(),
            locked: LockedPackages::shipped(folder),
        }))
    }

    /// Returns the locked packages of a profile.
    pub fn locked(&self, profile: Profile) -> Option<&LockedPackages> {
        self.locked.iter().find(|locked| locked.profile == profile)
    }

    /// By which an environment is known to hold what the programs need now.
    fn hash(&self) -> String {
        blake3::hash(self.requirements.as_bytes()).to_hex().to_string()
    }
}

/// How the environment of a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Absent,
    /// Made for other requirements.
    Outdated,
}

/// Where environments are. They can be shared by several daemons.
#[derive(Debug, Clone)]
pub struct Environments {
    root: PathBuf,
    /// The flags that make another `onceoverd` find them and the same nodes.
    flags: String,
}

impl Environments {
    pub fn new(root: PathBuf) -> Self {
        let flags = String::new();
        Self { root, flags }
    }

    /// With the flags that messages name; each begins with a blank.
    pub fn with_flags(self, flags: String) -> Self {
        Self { flags, ..self }
    }

    /// A command of `onceoverd` on these environments.
    pub fn command(&self, words: &str) -> String {
        format!("onceoverd {words}{}", self.flags)
    }

    /// Folder of a service: its environments, the finished one as the link `venv`.
    fn folder(&self, service: &str) -> PathBuf {
        self.root.join(service)
    }

    pub fn state(&self, service: &Service) -> State {
        let Some(installed) = self.installed(service) else {
            return State::Absent;
        };
        let is_of_another_lock = |held: &InstalledLock| {
            let wanted = service.locked(held.profile).map(LockedPackages::hash);
            wanted.as_ref() != Some(&held.hash)
        };
        if installed.requirements != service.hash() || installed.locked.as_ref().is_some_and(is_of_another_lock) {
            State::Outdated
        } else {
            State::Ready
        }
    }

    /// Returns the profile whose locked packages an environment holds.
    pub fn profile(&self, service: &Service) -> Option<Profile> {
        Some(self.installed(service)?.locked?.profile)
    }

    /// Returns where the environments are.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn installed(&self, service: &Service) -> Option<Installed> {
        let marker = self.folder(&service.name).join(CURRENT).join(MARKER);
        serde_json::from_slice(&fs::read(marker).ok()?).ok()
    }

    /// The interpreter of a service. The link is followed once, so that a run keeps its environment when another takes
    /// its place.
    pub fn interpreter(&self, service: &str) -> std::io::Result<PathBuf> {
        let folder = self.folder(service);
        let environment = fs::read_link(folder.join(CURRENT))?;
        Ok(folder.join(environment).join("bin/python"))
    }
}

/// What runs Python programs.
#[derive(Debug, Clone)]
pub struct Python {
    pub environments: Environments,
    /// Where the shipped programs were unpacked to.
    pub programs: PathBuf,
}

impl Python {
    /// Interpreter and program of a node.
    pub fn command(&self, node: &NodeSpec) -> Result<[PathBuf; 2], String> {
        let RunnerSpec::Python(program, _) = &node.runner else {
            return Err(format!("{} is not a Python program", node.name));
        };
        let service = Service::of(node)?.map(|service| service.name).unwrap_or_default();
        let interpreter = self.environments.interpreter(&service).map_err(|_| {
            let install = self.environments.command(&format!("nodes install {service}"));
            format!("the Python environment of {service} is not installed; run: {install}")
        })?;
        // An absolute program stays as it is.
        Ok([interpreter, self.programs.join(program)])
    }
}
