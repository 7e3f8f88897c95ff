//! The pipelines that there are, with what their steps lack on this machine.

use std::sync::Arc;

use onceover_catalog::{
    Catalog,
    pipeline::{PipelineSpec, StepSpec},
};
use onceover_types::{Missing, NodeName};
use onceover_wire::{PipelineInfo, PipelineList, PipelineStepInfo};
use serde_json::{Map, Value};

use super::{Pipelines, VideoError};
use crate::readiness::Readiness;

/// Knows pipelines, the nodes of their steps, and what these lack on this machine.
pub struct DescribedPipelines {
    pipelines: Arc<Pipelines>,
    catalog: Arc<Catalog>,
    readiness: Arc<Readiness>,
}

impl DescribedPipelines {
    pub fn new(pipelines: Arc<Pipelines>, catalog: Arc<Catalog>, readiness: Arc<Readiness>) -> Self {
        Self {
            pipelines,
            catalog,
            readiness,
        }
    }

    /// Returns the name of the pipeline that runs where a request names none.
    pub(super) fn default_name(&self) -> &str {
        self.pipelines.default_name()
    }

    /// Finds a step of a pipeline; `None` if there is no such pipeline or step.
    pub(super) fn find_step(&self, pipeline: &str, step: &str) -> Option<&StepSpec> {
        self.pipelines.get(pipeline)?.step(step)
    }

    /// Finds what a node lacks on this machine to run with these parameters: nothing if it is not in the catalog.
    pub(super) fn find_missing(&self, node: &NodeName, parameters: &Map<String, Value>) -> Vec<Missing> {
        let node = self.catalog.get(node.as_str());
        node.map_or_else(Vec::new, |node| self.readiness.missing(node, parameters))
    }

    /// Lists the pipelines, and what their steps lack on this machine.
    pub(super) fn list_pipelines(&self) -> PipelineList {
        let step = |step: &StepSpec, retries: u32| PipelineStepInfo {
            name: step.name().to_owned(),
            task_name: step.node.clone(),
            weight: step.weight,
            optional: step.optional,
            needs: step.needs.clone(),
            retries,
            missing: self
                .find_missing(&step.node, &step.parameters)
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        let pipelines = self.pipelines.iter().map(|pipeline| PipelineInfo {
            name: pipeline.name.clone(),
            title: pipeline.title.clone(),
            purpose: pipeline.purpose.clone(),
            steps: pipeline
                .steps
                .iter()
                .map(|spec| step(spec, self.pipelines.retry(&pipeline.name, spec.name()).retries))
                .collect(),
        });
        PipelineList {
            default: self.pipelines.default_name().to_owned(),
            pipelines: pipelines.collect(),
        }
    }

    /// Finds a pipeline. The error names the field of a request.
    pub(super) fn find_pipeline(&self, name: &str) -> Result<&PipelineSpec, VideoError> {
        self.pipelines
            .find(name)
            .map_err(|why| VideoError::field("pipeline", why))
    }
}
