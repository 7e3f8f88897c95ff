//! `onceoverd nodes install`: makes the environments of services, after it has printed what that downloads; with their
//! models and a check of each where that is asked for.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use onceover_catalog::{Catalog, Gpu, Profile};
use onceover_types::{causes, humane};

use super::{
    models::{self, ModelPlan},
    nodes::load,
};
use crate::{
    config::{Config, LogFormat},
    console::print_line,
    logging,
    pipelines::services_of_pipeline,
    python::{self, Environments, Installer, Interpreter, PackageSet, Service, Setup, State, TorchIndex},
    readiness::{Readiness, find_program},
};

/// Every service, in the place of a name.
const ALL: &str = "all";
/// What the printed time is for: bytes a second that a line of 100 Mbit/s downloads, and that a disk unpacks.
const DOWNLOADED_A_SECOND: u64 = 12_500_000;
const UNPACKED_A_SECOND: u64 = 50_000_000;

/// What puts packages into environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InstallerChoice {
    /// uv where it is on the PATH, else pip.
    Auto,
    Uv,
    Pip,
}

/// Make the Python environments of services with the packages their nodes need, and print their sizes first
///
/// The profile chooses the packages: --profile, else that of the configuration, else cuda where there is a GPU and cpu where
/// there is none.
#[derive(Debug, Args)]
pub struct InstallOptions {
    /// Services, or `all`; if omitted, all, which takes --yes
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// The services that the steps of this pipeline run in
    #[arg(long, value_name = "NAME", conflicts_with = "services")]
    pipeline: Option<String>,
    /// Also download the default models of their nodes into the models folder
    #[arg(long)]
    models: bool,
    /// Also check each environment: import its libraries, find the device, do a tiny run
    #[arg(long)]
    check: bool,
    /// Print what would be installed, its size and time, without installing it
    #[arg(long)]
    dry_run: bool,
    /// Install everything where no service is named
    #[arg(long)]
    yes: bool,
    /// Make environments again, even if they exist
    #[arg(long)]
    reinstall: bool,
    /// Interpreter to make them with
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    /// Program that installs packages: auto takes uv where it is on the PATH
    #[arg(long, value_name = "PROGRAM", default_value = "auto")]
    installer: InstallerChoice,
}

impl InstallOptions {
    /// Whether what is installed was chosen, and not left to be everything.
    fn is_explicit(&self) -> bool {
        !self.services.is_empty() || self.pipeline.is_some() || self.yes
    }
}

/// What an installation does.
struct InstallPlan {
    environments: Environments,
    profile: Profile,
    interpreter: Interpreter,
    installer: Installer,
    services: Vec<ServicePlan>,
    /// The default models of their nodes.
    models: Vec<ModelPlan>,
    fetches_models: bool,
}

/// What is done for one service.
struct ServicePlan {
    service: Service,
    packages: PackageSet,
    is_installed: bool,
}

/// Makes the environments of the services that are chosen.
pub fn install(config: &Config, options: &InstallOptions) -> anyhow::Result<()> {
    let (catalog, readiness) = load(config)?;
    let services = choose_services(
        config,
        &catalog,
        &readiness,
        &options.services,
        options.pipeline.as_deref(),
    )?;
    let plan = plan_installation(config, &catalog, &readiness, services, options)?;
    plan.print();
    if options.dry_run {
        return Ok(());
    }
    if !options.is_explicit() && plan.does_something() {
        bail!("no service was named: name some, or install all of this with --yes");
    }
    plan.refuse_too_little_space()?;
    plan.install_environments()?;
    models::fetch(&plan.environments, plan.wanted_models())?;
    match options.check {
        true => plan.check(),
        false => Ok(()),
    }
}

fn choose_services(
    config: &Config,
    catalog: &Catalog,
    readiness: &Readiness,
    names: &[String],
    pipeline: Option<&str>,
) -> anyhow::Result<Vec<Service>> {
    let services = readiness.services();
    let of_pipeline = pipeline
        .map(|name| services_of_pipeline(config, catalog, name))
        .transpose()?;
    let names = of_pipeline.as_deref().unwrap_or(names);
    if let Some(unknown) = names
        .iter()
        .find(|name| *name != ALL && !services.iter().any(|service| service.name == **name))
    {
        let known: Vec<_> = services.iter().map(|service| service.name.as_str()).collect();
        bail!(
            "no node runs in an environment '{unknown}'; there are {}",
            if known.is_empty() {
                "none".into()
            } else {
                known.join(", ") + ", or all"
            }
        );
    }
    // A pipeline can do without any.
    let is_all = names.iter().any(|name| name == ALL) || (names.is_empty() && pipeline.is_none());
    let chosen = services
        .into_iter()
        .filter(|service| is_all || names.contains(&service.name));
    Ok(chosen.cloned().collect())
}

fn plan_installation(
    config: &Config,
    catalog: &Catalog,
    readiness: &Readiness,
    services: Vec<Service>,
    options: &InstallOptions,
) -> anyhow::Result<InstallPlan> {
    let environments = config.environments();
    let interpreter = Interpreter::ask(&options.python)?;
    let profile = config.profile.unwrap_or(match readiness.gpu() {
        Gpu::Present => Profile::Cuda,
        Gpu::Absent => Profile::Cpu,
    });
    let models = match options.models || options.check {
        true => models::of_services(catalog, readiness, &services)?,
        false => Vec::new(),
    };
    let torch_index = TorchIndex::find(&services, profile);
    let plan_service = |service: Service| {
        let packages = PackageSet::choose(&service, profile, &interpreter, &torch_index)?;
        // Packages of another profile are replaced only where a profile was named.
        let is_of_profile = config.profile.is_none() || environments.profile(&service) == packages.profile();
        let is_installed = environments.state(&service) == State::Ready && is_of_profile && !options.reinstall;
        anyhow::Ok(ServicePlan {
            service,
            packages,
            is_installed,
        })
    };
    let services = services.into_iter().map(plan_service).collect::<Result<_, _>>()?;
    Ok(InstallPlan {
        environments,
        profile,
        interpreter,
        installer: choose_installer(options.installer)?,
        services,
        models,
        fetches_models: options.models,
    })
}

fn choose_installer(choice: InstallerChoice) -> anyhow::Result<Installer> {
    match (choice, find_program("uv")) {
        (InstallerChoice::Auto | InstallerChoice::Uv, Some(uv)) => Ok(Installer::Uv(uv)),
        (InstallerChoice::Uv, None) => bail!("uv is not on the PATH; install it, or take --installer pip"),
        (InstallerChoice::Auto | InstallerChoice::Pip, _) => Ok(Installer::Pip),
    }
}

impl InstallPlan {
    /// The services whose environments are made.
    fn wanted(&self) -> impl Iterator<Item = &ServicePlan> {
        self.services.iter().filter(|plan| !plan.is_installed)
    }

    /// The models that are downloaded.
    fn wanted_models(&self) -> impl Iterator<Item = &ModelPlan> {
        self.models
            .iter()
            .filter(move |model| self.fetches_models && !model.is_here)
    }

    fn does_something(&self) -> bool {
        self.wanted().next().is_some() || self.wanted_models().next().is_some()
    }

    /// Returns the bytes that are downloaded, as far as they are known.
    fn download(&self) -> u64 {
        let packages = self.wanted().filter_map(|plan| plan.packages.size.as_ref());
        let models = self.wanted_models().filter_map(|model| model.bytes);
        packages.map(|size| size.download).sum::<u64>() + models.sum::<u64>()
    }

    /// Returns the bytes of packages on the disk, as far as they are known.
    fn unpacked(&self) -> u64 {
        let packages = self.wanted().filter_map(|plan| plan.packages.size.as_ref());
        packages.map(|size| size.unpacked).sum()
    }

    fn print(&self) {
        print_line!(
            "profile   {}, for Python {}, by {}",
            self.profile,
            self.interpreter.version,
            self.installer.name()
        );
        for plan in &self.services {
            plan.print();
        }
        for model in self.models.iter().filter(|_| self.fetches_models) {
            model.print();
        }
        let (download, unpacked) = (self.download(), self.unpacked());
        if download == 0 {
            return;
        }
        let seconds = download / DOWNLOADED_A_SECOND + unpacked / UNPACKED_A_SECOND;
        let models: u64 = self.wanted_models().filter_map(|model| model.bytes).sum();
        print_line!(
            "in all    {} to download, {} on disk; about {} at 100 Mbit/s",
            humane::bytes(download),
            humane::bytes(unpacked + models),
            humane::duration(Duration::from_secs(seconds.div_ceil(60) * 60))
        );
    }

    /// Refuses what the disk has no space for, as far as sizes are known.
    fn refuse_too_little_space(&self) -> anyhow::Result<()> {
        let (needed, root) = (self.unpacked(), self.environments.root());
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let disk =
            rustix::fs::statvfs(root).with_context(|| format!("cannot ask for the space at {}", root.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if needed > free {
            bail!(
                "{} needs {}, and has {}; free some, or name another folder with --environments",
                root.display(),
                humane::bytes(needed),
                humane::bytes(free)
            );
        }
        Ok(())
    }

    fn install_environments(&self) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        for plan in self.wanted() {
            let setup = Setup {
                python: self.interpreter.program.clone(),
                installer: self.installer.clone(),
                packages: plan.packages.clone(),
            };
            // One that is ready is wanted in another form.
            let is_replaced = self.environments.state(&plan.service) == State::Ready;
            let say = |line: &str| print_line!("{line}");
            if let Err(error) = python::install(&self.environments, &plan.service, &setup, is_replaced, &say) {
                logging::report_failure(None, LogFormat::Text, &causes(error.as_ref()));
                failed.push(plan.service.name.as_str());
            }
        }
        if !failed.is_empty() {
            bail!("not installed: {}", failed.join(", "));
        }
        Ok(())
    }

    /// Checks every environment, and prints which models are still to come.
    fn check(&self) -> anyhow::Result<()> {
        let folder = self
            .environments
            .root()
            .join(format!(".programs-{}", std::process::id()));
        let checked = python::unpack(&folder)
            .with_context(|| format!("cannot unpack programs into {}", folder.display()))
            .and_then(|programs| self.check_with(&programs));
        let _ = fs::remove_dir_all(&folder);
        let failed = checked?;
        let to_come = |model: &&ModelPlan| !self.fetches_models && !model.is_here;
        for model in self.models.iter().filter(to_come) {
            model.print();
            print_line!("  it comes with --models, or when it is first used");
        }
        if !failed.is_empty() {
            bail!("not in order: {}", failed.join(", "));
        }
        Ok(())
    }

    /// Checks every environment; returns the services that are not in order.
    fn check_with(&self, programs: &Path) -> anyhow::Result<Vec<&str>> {
        let mut failed = Vec::new();
        for plan in &self.services {
            let service = &plan.service;
            let profile = self.environments.profile(service).unwrap_or(self.profile);
            let report = python::check(&self.environments, service, profile, &self.installer, programs)?;
            for line in &report.lines {
                print_line!("{}: {line}", service.name);
            }
            if !report.is_in_order {
                failed.push(service.name.as_str());
            }
        }
        Ok(failed)
    }
}

impl ServicePlan {
    fn print(&self) {
        let name = &self.service.name;
        if self.is_installed {
            print_line!("{name}: is installed");
            return;
        }
        match &self.packages.size {
            Some(size) => print_line!(
                "{name}: {} packages, {} to download, {} on disk",
                size.packages,
                humane::bytes(size.download),
                humane::bytes(size.unpacked)
            ),
            None => print_line!("{name}: packages of unknown size"),
        }
        if let Some(note) = &self.packages.note {
            print_line!("  {note}");
        }
        if let Some(size) = self.packages.size.as_ref().filter(|size| !size.built.is_empty()) {
            print_line!("  built from source, which may need a compiler: {}", size.built);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str, options: &[&str]) -> Result<InstallPlan, String> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: InstallOptions,
        }
        let line: Line = clap::Parser::parse_from(std::iter::once("install").chain(options.iter().copied()));
        let config: Config = toml::from_str(text).unwrap();
        let (catalog, readiness) = load(&config).unwrap();
        let options = line.options;
        let chosen = choose_services(
            &config,
            &catalog,
            &readiness,
            &options.services,
            options.pipeline.as_deref(),
        );
        let planned = chosen.and_then(|services| plan_installation(&config, &catalog, &readiness, services, &options));
        planned.map_err(|error| error.to_string())
    }

    fn names(plan: &InstallPlan) -> Vec<&str> {
        plan.services.iter().map(|plan| plan.service.name.as_str()).collect()
    }

    #[test]
    fn services_are_those_named_those_of_a_pipeline_or_all() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("environments = '{}'\nprofile = 'cpu'", dir.path().display());
        let named = plan(&text, &["paddleocr", "faster_whisper"]).unwrap();
        assert_eq!(names(&named), ["faster_whisper", "paddleocr"]);
        let of_pipeline = plan(&text, &["--pipeline", "subtitles"]).unwrap();
        assert_eq!(names(&of_pipeline), ["faster_whisper"]);
        let without_environment = plan(&text, &["--pipeline", "sample"]).unwrap();
        assert_eq!(names(&without_environment), [""; 0]);
        let all = plan(&text, &[]).unwrap();
        assert_eq!(names(&all), names(&plan(&text, &["all"]).unwrap()));
        assert!(names(&all).len() > 4, "{:?}", names(&all));
        let Err(error) = plan(&text, &["paddle"]) else {
            panic!("it was taken")
        };
        assert!(error.contains("'paddle'") && error.contains("paddleocr"), "{error}");
    }

    #[test]
    fn the_profile_decides_the_packages_and_the_models() {
        let dir = tempfile::tempdir().unwrap();
        let text = |profile: &str| format!("environments = '{}'\nprofile = '{profile}'", dir.path().display());
        let models =
            |plan: &InstallPlan| -> Vec<String> { plan.models.iter().map(|model| model.name.clone()).collect() };
        let cpu = plan(&text("cpu"), &["faster_whisper", "--models"]).unwrap();
        let cuda = plan(&text("cuda"), &["faster_whisper", "--models"]).unwrap();
        assert_eq!(models(&cpu), ["Systran/faster-whisper-base"]);
        assert_eq!(models(&cuda), ["Systran/faster-whisper-large-v3"]);
        if let (Some(small), Some(large)) = (&cpu.services[0].packages.size, &cuda.services[0].packages.size) {
            assert!(small.download < large.download, "{small:?} {large:?}");
        }
        let checked = plan(&text("cpu"), &["faster_whisper", "--check"]).unwrap();
        assert_eq!((models(&checked), checked.wanted_models().count()), (models(&cpu), 0));
    }
}
