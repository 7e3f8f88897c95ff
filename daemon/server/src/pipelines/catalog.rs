//! Every pipeline there is: the shipped ones and those of `pipelines.dirs`, judged at start.

use std::{fs, time::Duration};

use anyhow::{Context, bail};
use include_dir::{Dir, include_dir};
use indexmap::IndexMap;
use onceover_catalog::{
    Catalog,
    pipeline::{PipelineSpec, parse_pipeline},
};

use super::state::Retry;
use crate::{catalog::toml_files, config::Config};

/// Characters of an unknown name that an error repeats.
const LONGEST_NAME: usize = 128;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../assets/pipelines");

/// Pipelines by name.
#[derive(Debug)]
pub struct Pipelines {
    by_name: IndexMap<String, PipelineSpec>,
    default: String,
    retries: u32,
    backoff: Duration,
}

impl Pipelines {
    /// The shipped ones, then those of the configured folders, of one name the last. An error for people names the file
    /// and what is wrong, for a cycle its path.
    pub fn load(config: &Config, catalog: &Catalog) -> anyhow::Result<Self> {
        let mut by_name = IndexMap::new();
        for file in SHIPPED.files() {
            let text = file.contents_utf8().context("a shipped pipeline is no text")?;
            let pipeline = parse_pipeline(text).with_context(|| file.path().display().to_string())?;
            by_name.insert(pipeline.name.clone(), (file.path().display().to_string(), pipeline));
        }
        for dir in &config.pipelines.dirs {
            for path in toml_files("pipelines.dirs", dir)? {
                let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                let pipeline = parse_pipeline(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
                by_name.insert(pipeline.name.clone(), (path.display().to_string(), pipeline));
            }
        }
        for (file, pipeline) in by_name.values() {
            if let Some(fault) = pipeline.faults(catalog).first() {
                bail!("{file}: pipeline {}: {fault}", pipeline.name);
            }
        }
        let pipelines = Self {
            by_name: by_name
                .into_iter()
                .map(|(name, (_, pipeline))| (name, pipeline))
                .collect(),
            default: config.pipelines.default.clone(),
            retries: config.pipelines.retries,
            backoff: config.pipelines.backoff,
        };
        if let Err(why) = pipelines.find(&pipelines.default) {
            bail!("pipelines.default: {why}");
        }
        Ok(pipelines)
    }

    pub fn get(&self, name: &str) -> Option<&PipelineSpec> {
        self.by_name.get(name)
    }

    /// The pipeline of this name; the error names those there are.
    pub fn find(&self, name: &str) -> Result<&PipelineSpec, String> {
        self.get(name).ok_or_else(|| {
            let names: Vec<_> = self.by_name.keys().map(String::as_str).collect();
            let name: String = name.chars().take(LONGEST_NAME).collect();
            format!("there is no pipeline '{name}'; there are {}", names.join(", "))
        })
    }

    pub fn iter(&self) -> impl Iterator<Item = &PipelineSpec> {
        self.by_name.values()
    }

    /// Name of the one that is used when none is named.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// How a step is tried again; a step that is no longer known is not.
    pub fn retry(&self, pipeline: &str, step: &str) -> Retry {
        let step = self.get(pipeline).and_then(|pipeline| pipeline.step(step));
        match step {
            Some(step) => Retry {
                retries: step.retries.unwrap_or(self.retries),
                backoff: step.backoff.unwrap_or(self.backoff),
            },
            None => Retry {
                retries: 0,
                backoff: Duration::ZERO,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onceover_catalog::shipped::shipped;

    #[test]
    fn shipped_pipelines_are_read_and_have_no_faults() {
        let pipelines = Pipelines::load(&Config::default(), &shipped()).unwrap();
        let names: Vec<_> = pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        for name in [
            "subtitles",
            "hard-subtitles",
            "hard-subtitles-translated",
            "dub",
            "sample",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
        for pipeline in pipelines.iter() {
            assert!(
                !pipeline.title.is_empty() && !pipeline.purpose.is_empty(),
                "{}",
                pipeline.name
            );
        }
    }
}
