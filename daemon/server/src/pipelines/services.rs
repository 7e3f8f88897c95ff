//! What a pipeline needs of this machine: the services whose environments its steps run in, and what is missing.

use std::sync::Arc;

use onceover_catalog::{Catalog, NodeSpec, pipeline::PipelineSpec};
use onceover_types::Missing;

use super::Pipelines;
use crate::{config::Config, python::Service, readiness::Readiness};

/// Returns the Python services that the steps of a pipeline run in, those of optional steps included, in the order of the
/// steps. An error for people names the pipelines there are.
pub fn services_of_pipeline(config: &Config, catalog: &Catalog, name: &str) -> anyhow::Result<Vec<String>> {
    let pipelines = Pipelines::load(config, catalog)?;
    let pipeline = pipelines.find(name).map_err(anyhow::Error::msg)?;
    let mut services: Vec<String> = Vec::new();
    for step in &pipeline.steps {
        let Some(node) = catalog.for_input(step.node.as_str(), &step.parameters) else {
            continue;
        };
        let service = Service::of(node).map_err(anyhow::Error::msg)?;
        services.extend(
            service
                .map(|service| service.name)
                .filter(|name| !services.contains(name)),
        );
    }
    Ok(services)
}

/// Returns the first thing that the steps of a pipeline lack on this machine and cannot do without. Where an installation
/// brings it, the command is that for the whole pipeline.
pub fn missing_of_pipeline(
    config: &Config,
    catalog: &Catalog,
    readiness: &Readiness,
    pipeline: &PipelineSpec,
) -> Option<Missing> {
    let mut steps = pipeline.steps.iter().filter(|step| !step.optional);
    steps.find_map(|step| {
        let node: &NodeSpec = catalog
            .for_input(step.node.as_str(), &step.parameters)
            .map(Arc::as_ref)?;
        let install = || {
            let command = format!("nodes install --pipeline {} --models", pipeline.name);
            config.environments().command(&command)
        };
        let installed = readiness.missing_installation(node, &step.parameters);
        let installed = installed.map(|missing| Missing {
            how: install(),
            ..missing
        });
        installed.or_else(|| readiness.missing(node, &step.parameters).into_iter().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app, catalog::load_catalog};

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_services_of_a_pipeline_are_those_its_steps_run_in() {
        let config = config("");
        let catalog = load_catalog(&config).unwrap();
        let services = |name: &str| services_of_pipeline(&config, &catalog, name).map_err(|why| why.to_string());
        assert_eq!(services("subtitles"), Ok(vec!["faster_whisper".to_owned()]));
        assert_eq!(services("hard-subtitles"), Ok(vec!["paddleocr".to_owned()]));
        // It speaks with espeak-ng, which needs no environment.
        assert_eq!(services("dub"), Ok(vec!["faster_whisper".to_owned()]));
        assert_eq!(services("sample"), Ok(Vec::new()));
        let error = services("subtitle").unwrap_err();
        assert!(
            error.contains("'subtitle'") && error.contains("hard-subtitles"),
            "{error}"
        );
    }

    #[test]
    fn what_a_pipeline_lacks_is_named_with_one_command_for_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&format!(
            "profile = 'cpu'\nenvironments = '{}'",
            folder.path().display()
        ));
        let catalog = load_catalog(&config).unwrap();
        let readiness = app::readiness(&config, &catalog).unwrap();
        let pipelines = Pipelines::load(&config, &catalog).unwrap();
        let subtitles = pipelines.get("subtitles").unwrap();
        // Without the program that the first step needs, on a machine that lacks it.
        let transcribing = PipelineSpec {
            steps: subtitles.steps[1..2].to_vec(),
            ..subtitles.clone()
        };
        let missing = missing_of_pipeline(&config, &catalog, &readiness, &transcribing).unwrap();
        assert!(missing.what.contains("environment of faster_whisper"), "{missing:?}");
        assert!(
            missing
                .how
                .starts_with("onceoverd nodes install --pipeline subtitles --models"),
            "{missing:?}"
        );
        // A translation is optional.
        let translating = PipelineSpec {
            steps: subtitles.steps[3..].to_vec(),
            ..subtitles.clone()
        };
        assert_eq!(missing_of_pipeline(&config, &catalog, &readiness, &translating), None);
    }
}
