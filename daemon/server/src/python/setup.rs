//! What an environment is made with and of: the interpreter, pip or uv, and the packages of a profile.

use std::{
    env,
    ffi::OsString,
    io,
    net::{TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use onceover_catalog::Profile;
use url::Url;

use super::{
    Service,
    lock::{InstallSize, LockCoverage, LockedPackages},
};

/// Prints what locked packages depend on; none are locked for other systems than Linux with glibc.
const ASK_INTERPRETER: &str = "import platform, sys; \
    locked = sys.platform == 'linux' and platform.libc_ver()[0] == 'glibc' and sys.implementation.name == 'cpython'; \
    print('%d.%d' % sys.version_info[:2], platform.machine() if locked else sys.platform)";
/// What to do where there is no interpreter.
pub(super) const NO_PYTHON: &str =
    "install it (apt-get install python3 python3-venv), or name another interpreter with --python";
/// Where wheels of torch for processors are; PyPI has those for CUDA alone.
const TORCH_INDEX: &str = "https://download.pytorch.org/whl/cpu";
/// Names another index of such wheels.
const TORCH_INDEX_VARIABLE: &str = "ONCEOVER_TORCH_INDEX";
/// How long that index may take to answer.
const TORCH_INDEX_WAIT: Duration = Duration::from_secs(3);
/// What torch and its companions for processors take, about: 2.11.0 on x86-64.
const TORCH_DOWNLOAD: u64 = 200_000_000;
const TORCH_UNPACKED: u64 = 750_000_000;
/// Settings of pip that uv has by another name, which it does not read.
const SETTINGS: [(&str, &str); 3] = [
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
    ("PIP_CERT", "SSL_CERT_FILE"),
];

/// A Python that environments are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub program: String,
    /// `3.12`.
    pub version: String,
    /// `3.12 x86_64`, as locked packages name it.
    target: String,
}

impl Interpreter {
    /// Asks a program what it is.
    pub fn ask(program: &str) -> anyhow::Result<Self> {
        let asked = Command::new(program).args(["-c", ASK_INTERPRETER]).output();
        let output = match asked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("{program} cannot be started: {error}\n{NO_PYTHON}")
            }
            asked => asked.with_context(|| format!("{program} cannot be started"))?,
        };
        let target = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match target.split_once(' ') {
            Some((version, _)) if output.status.success() => Ok(Self {
                program: program.to_owned(),
                version: version.to_owned(),
                target,
            }),
            _ => bail!(
                "{program} is no Python that can be used: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        }
    }
}

/// What puts packages into an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installer {
    Pip,
    /// The path of uv, which is faster.
    Uv(PathBuf),
}

impl Installer {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Uv(_) => "uv",
        }
    }

    /// Returns where packages come from, for an error.
    fn advice(&self) -> &'static str {
        match self {
            Self::Pip => "packages come from PyPI, or from where PIP_INDEX_URL points",
            Self::Uv(_) => {
                "packages come from PyPI, or from where UV_DEFAULT_INDEX or PIP_INDEX_URL points; uv reads no pip.conf, \
                 and --installer pip does"
            }
        }
    }

    /// A command for an environment, such as `install`.
    pub(super) fn command(&self, word: &str, environment: &Path) -> Command {
        let python = environment.join("bin/python");
        match self {
            Self::Pip => {
                let mut command = Command::new(python);
                command.args(["-m", "pip", "--disable-pip-version-check", "--no-input", word]);
                command
            }
            Self::Uv(uv) => {
                let mut command = Command::new(uv);
                command.args(["pip", word, "--python"]).arg(python);
                command.envs(settings_for_uv(|name| {
                    env::var_os(name).filter(|value| !value.is_empty())
                }));
                command
            }
        }
    }

    fn index_flag(&self) -> &'static str {
        match self {
            Self::Pip => "--index-url",
            Self::Uv(_) => "--default-index",
        }
    }
}

/// Returns what pip would be set to, by uv's names, unless these are set.
fn settings_for_uv(variable: impl Fn(&str) -> Option<OsString>) -> Vec<(&'static str, OsString)> {
    SETTINGS
        .into_iter()
        .filter(|(_, uv)| variable(uv).is_none())
        .filter_map(|(pip, uv)| Some((uv, variable(pip)?)))
        .collect()
}

/// The index of wheels of torch for processors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchIndex {
    pub url: String,
    pub is_reachable: bool,
}

impl TorchIndex {
    /// Looks whether it answers, if any of the services takes torch from it; a proxy is taken to reach it.
    pub fn find(services: &[Service], profile: Profile) -> Self {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let url = set(TORCH_INDEX_VARIABLE).unwrap_or_else(|| TORCH_INDEX.to_owned());
        let has_proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .iter()
            .any(|name| set(name).is_some());
        let is_needed = services
            .iter()
            .any(|service| service.locked(profile).is_some_and(|lock| !lock.torch().is_empty()));
        let is_reachable = is_needed && (has_proxy || answers(&url));
        Self { url, is_reachable }
    }
}

fn answers(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return false;
    };
    let addresses = (host, port).to_socket_addrs();
    addresses.is_ok_and(|mut addresses| {
        addresses.any(|address| TcpStream::connect_timeout(&address, TORCH_INDEX_WAIT).is_ok())
    })
}

/// The packages of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSet {
    /// As pip and uv read it.
    pub(super) text: String,
    /// The file of locked packages that it is; `None` if it is not locked.
    pub(super) lock: Option<LockedPackages>,
    /// What comes from the index of torch's wheels for processors first, and that index.
    torch: Option<(Vec<String>, String)>,
    /// `None` if it is not known.
    pub size: Option<InstallSize>,
    /// What is other than could be expected.
    pub note: Option<String>,
}

impl PackageSet {
    /// The requirements as they are written, of which the newest releases are taken.
    fn unlocked(service: &Service, note: Option<String>) -> Self {
        Self {
            text: service.requirements.clone(),
            lock: None,
            torch: None,
            size: None,
            note,
        }
    }

    /// Chooses what a service is made of. An error for people, where packages have no file for this Python.
    pub fn choose(
        service: &Service,
        profile: Profile,
        interpreter: &Interpreter,
        torch_index: &TorchIndex,
    ) -> anyhow::Result<Self> {
        let Some(lock) = service.locked(profile) else {
            return Ok(Self::unlocked(service, None));
        };
        let torch = lock.torch();
        if !torch.is_empty()
            && !torch_index.is_reachable
            && let Some(of_cuda) = service.locked(Profile::Cuda)
        {
            let note = format!(
                "{} cannot be reached, so torch is PyPI's, which is larger and runs on the processor as well",
                torch_index.url
            );
            return Self::of_lock(service, of_cuda, interpreter, None, Some(note));
        }
        let torch = (!torch.is_empty()).then(|| (torch, torch_index.url.clone()));
        Self::of_lock(service, lock, interpreter, torch, None)
    }

    fn of_lock(
        service: &Service,
        lock: &LockedPackages,
        interpreter: &Interpreter,
        torch: Option<(Vec<String>, String)>,
        note: Option<String>,
    ) -> anyhow::Result<Self> {
        let mut size = match lock.coverage(&interpreter.target) {
            LockCoverage::Serves(size) => size,
            LockCoverage::Unsatisfiable(why) => bail!(
                "{} cannot be installed for Python {}: {why}; name another interpreter with --python (locked for {})",
                service.name,
                interpreter.version,
                lock.pythons()
            ),
            LockCoverage::NotLocked => {
                let note = format!(
                    "not locked for Python {}, but for {} on Linux: the newest releases are taken, unchecked",
                    interpreter.target,
                    lock.pythons()
                );
                return Ok(Self::unlocked(service, Some(note)));
            }
        };
        if torch.is_some() {
            size.download += TORCH_DOWNLOAD;
            size.unpacked += TORCH_UNPACKED;
        }
        Ok(Self {
            text: lock.text.clone(),
            lock: Some(lock.clone()),
            torch,
            size: Some(size),
            note,
        })
    }

    /// Returns the profile of its locked packages.
    pub fn profile(&self) -> Option<Profile> {
        self.lock.as_ref().map(|lock| lock.profile)
    }

    pub(super) fn is_empty(&self) -> bool {
        !has_packages(&self.text)
    }
}

/// Whether requirements name a package.
pub(super) fn has_packages(requirements: &str) -> bool {
    let mut lines = requirements.lines().map(str::trim_start);
    lines.any(|line| !line.starts_with('#') && !line.is_empty())
}

/// How an environment is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub python: String,
    pub installer: Installer,
    pub packages: PackageSet,
}

impl Setup {
    /// By pip, of the requirements as they are written.
    pub fn plain(python: &str, service: &Service) -> Self {
        Self {
            python: python.to_owned(),
            installer: Installer::Pip,
            packages: PackageSet::unlocked(service, None),
        }
    }

    /// Returns where its packages come from, for an error.
    pub(super) fn advice(&self) -> String {
        let packages = self.installer.advice();
        match &self.packages.torch {
            None => packages.to_owned(),
            Some((_, index)) => format!(
                "{packages}; torch comes from {index}, and with --profile cuda from PyPI, which the processor runs as well"
            ),
        }
    }

    /// Returns the commands that fill an environment, whose requirements are in a file.
    pub(super) fn commands(&self, environment: &Path, requirements: &Path) -> Vec<Command> {
        let mut commands = Vec::new();
        if let Some((packages, index)) = &self.packages.torch {
            let mut torch = self.installer.command("install", environment);
            torch.args(["--no-deps", self.installer.index_flag(), index]);
            torch.args(packages.iter().map(|package| format!("{package}+cpu")));
            commands.push(torch);
        }
        let mut all = self.installer.command("install", environment);
        if self.packages.lock.is_some() {
            all.args(["--no-deps", "--require-hashes"]);
        }
        all.arg("--requirement").arg(requirements);
        commands.push(all);
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::{Environments, State, install};

    const LOCK: &str = "# 3.11 x86_64: 9 packages, 1000 bytes, 3000 unpacked\n# 3.13 x86_64: none, as there is no file of \
                        old 1.0\n# torch: torch==2.11.0 torchaudio==2.11.0\nold==1.0 --hash=sha256:00\n";

    fn service() -> Service {
        let lock = |profile, text: &str| LockedPackages {
            profile,
            text: text.to_owned(),
        };
        Service {
            name: "demo".into(),
            requirements: "old\n".into(),
            locked: vec![
                lock(Profile::Cpu, LOCK),
                lock(
                    Profile::Cuda,
                    "# 3.11 x86_64: 19 packages, 9000 bytes, 9999 unpacked\ntorch==2.11.0\n",
                ),
            ],
        }
    }

    fn choose(profile: Profile, target: &str, is_reachable: bool) -> Result<PackageSet, String> {
        choose_of(&service(), profile, target, is_reachable)
    }

    fn choose_of(service: &Service, profile: Profile, target: &str, is_reachable: bool) -> Result<PackageSet, String> {
        let interpreter = Interpreter {
            program: "python3".into(),
            version: target.split(' ').next().unwrap().into(),
            target: target.into(),
        };
        let index = TorchIndex {
            url: "https://wheels.example/cpu".into(),
            is_reachable,
        };
        PackageSet::choose(service, profile, &interpreter, &index).map_err(|error| error.to_string())
    }

    fn words(packages: PackageSet, installer: Installer) -> Vec<String> {
        let setup = Setup {
            python: "python3".into(),
            installer,
            packages,
        };
        let commands = setup.commands(Path::new("/env"), Path::new("/env/requirements.txt"));
        let words = |command: &Command| {
            let all = std::iter::once(command.get_program()).chain(command.get_args());
            all.map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        commands.iter().map(words).collect()
    }

    #[test]
    fn locked_packages_are_installed_by_their_hashes_and_torch_for_processors_from_its_index() {
        let packages = choose(Profile::Cpu, "3.11 x86_64", true).unwrap();
        assert!(packages.size.as_ref().unwrap().download > TORCH_DOWNLOAD);
        let pip = words(packages.clone(), Installer::Pip);
        assert_eq!(
            pip,
            [
                "/env/bin/python -m pip --disable-pip-version-check --no-input install --no-deps --index-url \
                 https://wheels.example/cpu torch==2.11.0+cpu torchaudio==2.11.0+cpu",
                "/env/bin/python -m pip --disable-pip-version-check --no-input install --no-deps --require-hashes \
                 --requirement /env/requirements.txt",
            ]
        );
        let uv = words(packages, Installer::Uv("/bin/uv".into()));
        assert_eq!(
            uv[0],
            "/bin/uv pip install --python /env/bin/python --no-deps --default-index https://wheels.example/cpu \
             torch==2.11.0+cpu torchaudio==2.11.0+cpu"
        );
        let cuda = choose(Profile::Cuda, "3.11 x86_64", true).unwrap();
        assert_eq!(words(cuda, Installer::Pip).len(), 1);
    }

    #[test]
    fn without_the_index_of_wheels_for_processors_pypis_torch_is_taken_and_that_is_told() {
        let packages = choose(Profile::Cpu, "3.11 x86_64", false).unwrap();
        assert_eq!(packages.profile(), Some(Profile::Cuda));
        assert_eq!(packages.size.unwrap().download, 9000);
        assert!(
            packages
                .note
                .unwrap()
                .contains("https://wheels.example/cpu cannot be reached")
        );
    }

    #[test]
    fn a_python_without_locked_packages_gets_the_newest_and_one_without_files_is_refused() {
        let packages = choose(Profile::Cpu, "3.10 x86_64", true).unwrap();
        assert_eq!((packages.profile(), packages.size), (None, None));
        assert!(packages.note.unwrap().contains("not locked for Python 3.10"));
        let error = choose(Profile::Cpu, "3.13 x86_64", true).unwrap_err();
        assert!(
            error.contains("Python 3.13") && error.contains("no file of old 1.0") && error.contains("--python"),
            "{error}"
        );
    }

    #[test]
    fn an_environment_of_locked_packages_is_outdated_once_they_are_locked_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let environments = Environments::new(dir.path().join("nodes"));
        let locked_to = |text: &str| Service {
            locked: vec![LockedPackages {
                profile: Profile::Cuda,
                text: text.to_owned(),
            }],
            ..service()
        };
        let demo = locked_to("# 3.11 x86_64: 0 packages, 0 bytes, 0 unpacked\n");
        let setup = Setup {
            packages: choose_of(&demo, Profile::Cuda, "3.11 x86_64", true).unwrap(),
            ..Setup::plain("python3", &demo)
        };
        install(&environments, &demo, &setup, false, &|_| {}).unwrap();
        assert_eq!(environments.state(&demo), State::Ready);
        assert_eq!(environments.profile(&demo), Some(Profile::Cuda));
        assert_eq!(environments.state(&locked_to("# others\n")), State::Outdated);

        // One that an earlier version made of the newest releases is as good as it was.
        let none = Service {
            requirements: String::new(),
            ..locked_to("# others\n")
        };
        install(&environments, &none, &Setup::plain("python3", &none), true, &|_| {}).unwrap();
        assert_eq!(
            (environments.state(&none), environments.profile(&none)),
            (State::Ready, None)
        );
    }

    #[test]
    fn uv_gets_the_settings_of_pip_unless_it_has_its_own() {
        let settings = |set: &[(&str, &str)]| {
            settings_for_uv(|name| {
                let found = set.iter().find(|(set, _)| *set == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let pip = ("PIP_INDEX_URL", "https://a.example/simple");
        assert_eq!(
            settings(&[pip]),
            [("UV_DEFAULT_INDEX", OsString::from("https://a.example/simple"))]
        );
        assert!(settings(&[pip, ("UV_DEFAULT_INDEX", "https://b.example")]).is_empty());
    }

    #[test]
    fn an_interpreter_tells_its_version_and_what_is_none_is_refused() {
        let python = Interpreter::ask("python3").unwrap();
        assert!(python.version.starts_with("3."), "{python:?}");
        let error = Interpreter::ask("/nowhere/python3").unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/python3") && error.contains("--python"),
            "{error}"
        );
        assert!(Interpreter::ask("false").is_err());
    }
}
