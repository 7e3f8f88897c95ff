//! The default models of nodes: which there are, how large they are, and getting them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, bail};
use onceover_catalog::{Catalog, Hub, shipped::ASSETS};
use onceover_types::humane;
use serde_json::Map;

use crate::{
    console::print_line,
    python::{Environments, Service},
    readiness::{Readiness, models_folder},
};

/// Bytes of models, a line each, beside the shipped node files.
const SIZES: &str = "model-sizes.txt";
/// Downloads a model of the Hugging Face hub into a folder, which is there only when all of it is. Prints why it could not.
const DOWNLOAD: &str = "
import os, shutil, sys
name, folder = sys.argv[1:]
try:
    from huggingface_hub import snapshot_download
    snapshot_download(name, local_dir=folder + '.part')
except Exception as error:
    first = error
    while first.__cause__ or first.__context__:
        first = first.__cause__ or first.__context__
    lines = [str(why).strip().splitlines()[:1] for why in ([error] if first is error else [error, first])]
    sys.exit(print(': '.join(line[0] for line in lines if line)) or 1)
shutil.rmtree(os.path.join(folder + '.part', '.cache'), ignore_errors=True)
os.replace(folder + '.part', folder)
";

/// A model that a node loads where a request names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPlan {
    pub name: String,
    hub: Hub,
    /// The service whose environment has the library that downloads it.
    service: String,
    /// Where it is put.
    folder: PathBuf,
    pub is_here: bool,
    /// `None` if it is not known.
    pub bytes: Option<u64>,
}

/// Lists the default models of the nodes that run in these services.
pub fn of_services(catalog: &Catalog, readiness: &Readiness, services: &[Service]) -> anyhow::Result<Vec<ModelPlan>> {
    let root = models_folder().context("there is no folder for models: set ONCEOVER_MODELS")?;
    let mut models: Vec<ModelPlan> = Vec::new();
    for node in catalog.iter() {
        let by_default = catalog.for_input(node.name.as_str(), &Map::new());
        let node = by_default.map_or(node, Arc::as_ref);
        let Some(service) = Service::of(node).map_err(anyhow::Error::msg)? else {
            continue;
        };
        if !services.iter().any(|chosen| chosen.name == service.name) {
            continue;
        }
        for found in readiness.default_models(node) {
            if models.iter().all(|model| model.name != found.name) {
                models.push(ModelPlan {
                    folder: root.join(&found.name),
                    bytes: size_of(&found.name),
                    service: service.name.clone(),
                    name: found.name,
                    hub: found.hub,
                    is_here: found.is_here,
                });
            }
        }
    }
    Ok(models)
}

fn size_of(model: &str) -> Option<u64> {
    let sizes = ASSETS.get_file(SIZES)?.contents_utf8()?;
    let mut sizes = sizes.lines().filter_map(|line| line.split_once(' '));
    sizes.find(|(name, _)| *name == model)?.1.parse().ok()
}

impl ModelPlan {
    pub fn print(&self) {
        if self.is_here {
            print_line!("model {}: is here", self.name);
            return;
        }
        let size = self.bytes.map_or_else(
            || "of unknown size".to_owned(),
            |bytes| format!("about {}", humane::bytes(bytes)),
        );
        print_line!("model {}: {size}, into {}", self.name, self.folder.display());
    }

    /// Says how it is brought to this machine by hand.
    fn by_hand(&self) -> String {
        let (name, folder) = (&self.name, self.folder.display());
        match self.hub {
            Hub::ModelScope => format!(
                "where there is a network, run `modelscope download --model {name} --local_dir {folder}`, and bring that folder here"
            ),
            Hub::HuggingFace | Hub::Path => format!(
                "where there is a network, run `hf download {name} --local-dir {folder}`, and bring that folder here"
            ),
        }
    }
}

/// Downloads models. One that cannot be had does not keep the others back.
pub fn fetch<'a>(environments: &Environments, models: impl Iterator<Item = &'a ModelPlan>) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for model in models {
        if let Err(error) = fetch_model(environments, model) {
            failed.push(format!("{}: {error:#}; {}", model.name, model.by_hand()));
        }
    }
    if !failed.is_empty() {
        bail!("not fetched: {}", failed.join("\n"));
    }
    Ok(())
}

fn fetch_model(environments: &Environments, model: &ModelPlan) -> anyhow::Result<()> {
    if model.hub != Hub::HuggingFace {
        bail!("it is not at the Hugging Face hub");
    }
    print_line!("fetching {} into {}", model.name, model.folder.display());
    let interpreter = environments
        .interpreter(&model.service)
        .with_context(|| format!("the Python environment of {} is not installed", model.service))?;
    let output = Command::new(&interpreter)
        .args(["-c", DOWNLOAD, &model.name])
        .arg(&model.folder)
        .env_remove("PYTHONPATH")
        .env("PYTHONNOUSERSITE", "1")
        // Its progress is shown.
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", interpreter.display()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stdout);
        let why = why
            .lines()
            .last()
            .map_or_else(|| output.status.to_string(), str::to_owned);
        bail!("the download failed: {why} (models that are not open to all need HF_TOKEN)");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use onceover_catalog::shipped::shipped;

    use super::*;

    #[test]
    fn the_sizes_of_the_default_models_of_the_hugging_face_hub_are_known() {
        let catalog = shipped();
        for node in catalog.iter() {
            for need in node.needs.models.iter().filter(|need| need.hub == Hub::HuggingFace) {
                let parameter = node.parameter(&need.parameter).unwrap();
                let defaults = parameter.default.iter().chain(&parameter.default_by_profile.cpu);
                for name in defaults.filter_map(|default| default.as_str()) {
                    let name = format!("{}{name}", need.prefix);
                    assert!(
                        size_of(&name).is_some_and(|bytes| bytes > 1_000_000),
                        "{}: {name}",
                        node.name
                    );
                }
            }
        }
        assert_eq!(size_of("nobody/has-this"), None);
    }

    #[test]
    fn a_model_that_cannot_be_fetched_is_told_with_how_it_is_brought_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelPlan {
            name: "nobody/has-this".into(),
            hub: Hub::HuggingFace,
            service: "demo".into(),
            folder: dir.path().join("nobody/has-this"),
            is_here: false,
            bytes: None,
        };
        let environments = Environments::new(dir.path().join("nodes"));
        let error = fetch(&environments, std::iter::once(&model)).unwrap_err().to_string();
        assert!(
            error.contains("environment of demo") && error.contains("hf download nobody/has-this --local-dir"),
            "{error}"
        );
    }

    #[test]
    fn a_download_that_fails_says_why_in_one_line() {
        let output = Command::new("python3")
            // Without the folders of installed packages there is no library.
            .args(["-I", "-S", "-c", DOWNLOAD, "nobody/has-this", "/nowhere"])
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert_eq!(
            (String::from_utf8_lossy(&output.stdout).trim(), output.stderr.len()),
            ("No module named 'huggingface_hub'", 0)
        );
    }
}
