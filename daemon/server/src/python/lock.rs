//! The locked packages of shipped services: a file a service and profile, written by `make lock-nodes`. Its head says which
//! Python on which machine it serves, and what that downloads and unpacks.

use std::path::Path;

use onceover_catalog::{Profile, shipped::ASSETS};

/// A file of locked packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPackages {
    pub profile: Profile,
    /// As pip and uv read it.
    pub text: String,
}

/// What an installation downloads and unpacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallSize {
    pub packages: u64,
    pub download: u64,
    pub unpacked: u64,
    /// Packages that are built from their source, which can take a compiler; empty if there are none.
    pub built: String,
}

/// Whether a file of locked packages serves a Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockCoverage {
    Serves(InstallSize),
    /// PyPI lacks a file for it: which one.
    Unsatisfiable(String),
    NotLocked,
}

impl LockedPackages {
    /// Returns the files of a shipped service.
    pub(super) fn shipped(service: &str) -> Vec<Self> {
        let file = |profile: Profile| {
            let path = Path::new(service).join(format!("locked-{profile}.txt"));
            let text = ASSETS.get_file(path)?.contents_utf8()?.to_owned();
            Some(Self { profile, text })
        };
        Profile::ALL.into_iter().filter_map(file).collect()
    }

    /// Judges whether it serves a Python on a machine, `3.12 x86_64`.
    pub fn coverage(&self, target: &str) -> LockCoverage {
        let Some(line) = self.head(target) else {
            return LockCoverage::NotLocked;
        };
        if let Some(why) = line.strip_prefix("none, as ") {
            return LockCoverage::Unsatisfiable(why.to_owned());
        }
        let (figures, built) = line.split_once(", built from source: ").unwrap_or((line, ""));
        let mut figures = figures
            .split(", ")
            .map(|figure| figure.split(' ').next().and_then(|number| number.parse::<u64>().ok()));
        let mut next = || figures.next().flatten().unwrap_or_default();
        LockCoverage::Serves(InstallSize {
            packages: next(),
            download: next(),
            unpacked: next(),
            built: built.to_owned(),
        })
    }

    /// Returns the packages that come from PyTorch's index of CPU wheels beside it, `torch==2.11.0`.
    pub fn torch(&self) -> Vec<String> {
        let packages = self.head("torch").unwrap_or_default();
        packages.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the Pythons it serves, in words.
    pub fn pythons(&self) -> String {
        let versions = self.heads().filter_map(|(name, _)| Some(name.split_once(' ')?.0));
        let mut versions: Vec<_> = versions.filter(|name| name.starts_with("3.")).collect();
        versions.dedup();
        versions.join(", ")
    }

    fn head(&self, key: &str) -> Option<&str> {
        self.heads().find(|(name, _)| *name == key).map(|(_, line)| line)
    }

    fn heads(&self) -> impl Iterator<Item = (&str, &str)> {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("# "));
        lines.filter_map(|line| line.split_once(": "))
    }

    /// By which an environment is known to hold these packages.
    pub(super) fn hash(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use onceover_catalog::shipped::shipped;

    use super::*;
    use crate::python::Service;

    #[test]
    fn every_shipped_service_has_locked_packages_of_known_size_for_each_profile_and_python() {
        let catalog = shipped();
        let services = catalog.iter().filter_map(|node| Service::of(node).unwrap());
        for service in services.filter(|service| !service.requirements.is_empty()) {
            for profile in Profile::ALL {
                let name = &service.name;
                let locked = service
                    .locked(profile)
                    .unwrap_or_else(|| panic!("{name}: make lock-nodes"));
                assert_eq!(locked.pythons(), "3.11, 3.12, 3.13", "{name}");
                for target in ["3.11 x86_64", "3.12 aarch64", "3.13 x86_64"] {
                    let LockCoverage::Serves(size) = locked.coverage(target) else {
                        panic!("{name} {profile} does not serve {target}")
                    };
                    assert!(size.packages > 10 && size.unpacked > size.download, "{name}: {size:?}");
                }
                assert_eq!(locked.coverage("3.10 x86_64"), LockCoverage::NotLocked);
                let has_cuda = locked.text.lines().any(|line| line.starts_with("nvidia-"));
                assert_eq!(has_cuda, profile == Profile::Cuda, "{name} {profile}");
            }
        }
    }

    #[test]
    fn a_python_that_packages_have_no_file_for_is_told_with_the_reason() {
        let locked = LockedPackages {
            profile: Profile::Cpu,
            text: "# Locked packages of demo, profile cpu.\n# 3.11 x86_64: 2 packages, 10 bytes, 30 unpacked, built from \
                   source: jieba 0.42.1\n# 3.13 x86_64: none, as there is no file of old 1.0\n# torch: torch==2.11.0\nold==1.0\n"
                .into(),
        };
        assert_eq!(
            locked.coverage("3.11 x86_64"),
            LockCoverage::Serves(InstallSize {
                packages: 2,
                download: 10,
                unpacked: 30,
                built: "jieba 0.42.1".into()
            })
        );
        assert_eq!(
            locked.coverage("3.13 x86_64"),
            LockCoverage::Unsatisfiable("there is no file of old 1.0".into())
        );
        assert_eq!(locked.torch(), ["torch==2.11.0"]);
    }
}
