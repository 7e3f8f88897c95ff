//! Pipelines: which nodes process a video, and in which order. They are data (`assets/pipelines/*.toml` and the folders
//! of `pipelines.dirs`), read and checked here.

mod reference;

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use self::reference::{Reference, Referent, VideoField};
use crate::{Catalog, NodeSpec};
use onceover_types::{NodeName, read_toml};

/// One pipeline, as its TOML file says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSpec {
    /// 1 to 64 of A-Z a-z 0-9 _ -.
    pub name: String,
    /// A few words.
    #[serde(default)]
    pub title: String,
    /// One or two sentences.
    #[serde(default)]
    pub purpose: String,
    pub steps: Vec<StepSpec>,
}

/// One step: a node with its parameters.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// If omitted, the node's method: `extract_audio` for `ffmpeg.extract_audio`.
    #[serde(default)]
    name: Option<String>,
    pub node: NodeName,
    /// The step's part of the whole progress, in relation to those of the other steps.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Names of steps that end before this one begins.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Whether the pipeline continues without it when it fails or cannot run.
    #[serde(default)]
    pub optional: bool,
    /// The step is skipped where this stands for something: with `${{ video.subtitles }}`, nothing is transcribed where
    /// there are subtitles.
    #[serde(default)]
    pub unless: Option<String>,
    /// How often it is tried again after a failure; `pipelines.retries` if omitted.
    #[serde(default)]
    pub retries: Option<u32>,
    /// Wait before the first retry, doubled before each later one; `pipelines.backoff` if omitted.
    #[serde(default, deserialize_with = "duration")]
    pub backoff: Option<Duration>,
    /// The request's `input_data`. `${{ video.path }}`, `${{ video.id }}` and `${{ video.title }}` stand for the
    /// video's values, `${{ video.subtitles }}` for the subtitle file beside it that has its name, where there is one,
    /// `${{ stages.<node>.output.<field> }}` for an earlier step's output. Of several, `${{ a || b }}`, the first that
    /// exists counts; where none does, the parameter is omitted.
    #[serde(default)]
    pub parameters: Map<String, Value>,
}

fn default_weight() -> u32 {
    10
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let span = jiff::SignedDuration::deserialize(deserializer)?;
    let length = Duration::try_from(span);
    length
        .map(Some)
        .map_err(|_| serde::de::Error::custom("a duration must not be negative"))
}

/// Reads one pipeline file.
pub fn parse_pipeline(text: &str) -> Result<PipelineSpec, toml::de::Error> {
    read_toml(text)
}

impl StepSpec {
    /// Returns its name, or the method of its node if it has none.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.node.method())
    }

    /// Returns what its parameters refer to, in their order.
    pub fn references(&self) -> impl Iterator<Item = Referent<'_>> {
        let references = self.parameters.values().filter_map(Reference::parse_value);
        references.flat_map(Reference::alternatives)
    }

    /// Whether a parameter refers to the subtitles beside the video, or the step is skipped where there are some.
    pub fn needs_to_know_subtitles(&self) -> bool {
        let subtitles = Referent::Video(VideoField::Subtitles);
        self.unless.is_some() || self.references().any(|referent| referent == subtitles)
    }
}

impl PipelineSpec {
    /// Finds a step by name.
    pub fn step(&self, name: &str) -> Option<&StepSpec> {
        self.steps.iter().find(|step| step.name() == name)
    }

    /// Returns the steps that are named, by step or by node, and all that depend on them. The error is a name of no
    /// step.
    pub fn with_dependents<'a>(&'a self, names: &'a [String]) -> Result<Vec<&'a str>, &'a str> {
        let mut chosen: Vec<&str> = Vec::new();
        for name in names {
            let step = self
                .steps
                .iter()
                .find(|step| step.name() == name || step.node.as_str() == name);
            chosen.push(step.ok_or(name.as_str())?.name());
        }
        loop {
            let more: Vec<_> = self
                .steps
                .iter()
                .filter(|step| !chosen.contains(&step.name()))
                .filter(|step| step.needs.iter().any(|need| chosen.contains(&need.as_str())))
                .map(StepSpec::name)
                .collect();
            if more.is_empty() {
                return Ok(chosen);
            }
            chosen.extend(more);
        }
    }

    /// Returns what is wrong with it. If this is empty, everything that it names exists.
    pub fn faults(&self, catalog: &Catalog) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(
            self.cycle()
                .map(|path| format!("its steps wait for each other: {}", path.join(" -> "))),
        );
        let is_name = |name: &str| {
            (1..=64).contains(&name.len())
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        };
        if !is_name(&self.name) {
            faults.push(format!("'{}' is no name (1 to 64 of A-Z a-z 0-9 _ -)", self.name));
        }
        if self.steps.is_empty() {
            faults.push("it has no steps".into());
        }
        let mut by_node: IndexMap<&str, &str> = IndexMap::new();
        for step in &self.steps {
            let name = step.name();
            if !is_name(name) {
                faults.push(format!("step '{name}': that is no name (1 to 64 of A-Z a-z 0-9 _ -)"));
            }
            if self.steps.iter().filter(|other| other.name() == name).count() > 1 {
                faults.push(format!("there are two steps '{name}'"));
            }
            // One task has one stage of a node.
            if let Some(other) = by_node.insert(step.node.as_str(), name).filter(|other| *other != name) {
                faults.push(format!(
                    "steps '{other}' and '{name}' both run {}; a video has one result of each node",
                    step.node
                ));
            }
            if !(1..=10_000).contains(&step.weight) {
                faults.push(format!("step '{name}': weight must be 1 to 10000"));
            }
            for need in &step.needs {
                if self.step(need).is_none() {
                    let names: Vec<_> = self.steps.iter().map(StepSpec::name).collect();
                    faults.push(format!(
                        "step '{name}': needs '{need}', but there are only {}",
                        names.join(", ")
                    ));
                }
            }
            match catalog.get(step.node.as_str()) {
                None => {
                    let fault = catalog.no_such_node(step.node.as_str(), "`onceoverd nodes`");
                    faults.push(format!("step '{name}': {fault}"));
                }
                Some(node) => faults.extend(self.faults_of_input(step, node)),
            }
        }
        faults
    }

    fn faults_of_input(&self, step: &StepSpec, node: &NodeSpec) -> Vec<String> {
        let name = step.name();
        let mut faults = Vec::new();
        for error in node.check_input(&step.parameters) {
            let given = error
                .field
                .strip_prefix("input_data.")
                .and_then(|field| step.parameters.get(field));
            if given.and_then(Reference::parse_value).is_none() {
                faults.push(format!("step '{name}': {}: {}", error.field, error.message));
            }
        }
        for parameter in node.unknown_inputs(&step.parameters) {
            faults.push(format!(
                "step '{name}': '{parameter}': {}",
                node.unknown_input(parameter)
            ));
        }
        for referent in step.references() {
            if let Some(fault) = self.fault_of_reference(step, referent) {
                faults.push(format!("step '{name}': {fault}"));
            }
        }
        let subtitles = Referent::Video(VideoField::Subtitles);
        if let Some(unless) = &step.unless
            && Reference::parse(unless).and_then(Reference::single) != Some(subtitles)
        {
            faults.push(format!(
                "step '{name}': unless is '{unless}'; it can be {}",
                subtitles.as_reference()
            ));
        }
        faults
    }

    /// Returns why a parameter of a step cannot refer to this.
    fn fault_of_reference(&self, step: &StepSpec, referent: Referent<'_>) -> Option<String> {
        match referent {
            Referent::Video(_) => None,
            Referent::Output { node, .. } => {
                let earlier = self.steps.iter().find(|other| other.node.as_str() == node);
                let is_before = earlier.is_some_and(|earlier| self.comes_before(earlier.name(), step.name()));
                (!is_before)
                    .then(|| format!("a parameter takes the output of {node}, but no step that it needs runs that"))
            }
            Referent::Unknown(_) => {
                let known: Vec<_> = VideoField::ALL.iter().map(|field| field.as_str()).collect();
                Some(format!(
                    "'{}' is not known; there are {} and stages.<node>.output.<field>",
                    referent.as_reference(),
                    known.join(", ")
                ))
            }
        }
    }

    /// Whether `earlier` has ended when `later` begins.
    fn comes_before(&self, earlier: &str, later: &str) -> bool {
        let mut looked: Vec<&str> = vec![later];
        let mut next = 0;
        while let Some(name) = looked.get(next).copied() {
            next += 1;
            for need in self.step(name).into_iter().flat_map(|step| &step.needs) {
                if need == earlier {
                    return true;
                }
                if !looked.contains(&need.as_str()) {
                    looked.push(need);
                }
            }
        }
        false
    }

    /// Finds steps that wait for each other; the first one stands at the end again.
    fn cycle(&self) -> Option<Vec<&str>> {
        // Depth first; `path` is the way to the present step.
        fn visit<'a>(
            pipeline: &'a PipelineSpec,
            name: &'a str,
            path: &mut Vec<&'a str>,
            done: &mut Vec<&'a str>,
        ) -> Option<Vec<&'a str>> {
            if done.contains(&name) {
                return None;
            }
            if let Some(start) = path.iter().position(|other| *other == name) {
                let mut cycle = path.split_off(start);
                cycle.push(name);
                return Some(cycle);
            }
            path.push(name);
            for need in pipeline.step(name).into_iter().flat_map(|step| &step.needs) {
                if let Some(cycle) = visit(pipeline, need, path, done) {
                    return Some(cycle);
                }
            }
            path.pop();
            done.push(name);
            None
        }
        let (mut path, mut done) = (Vec::new(), Vec::new());
        self.steps
            .iter()
            .find_map(|step| visit(self, step.name(), &mut path, &mut done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_node;

    fn catalog() -> Catalog {
        let mut catalog = Catalog::default();
        for name in ["demo.a", "demo.b", "demo.c", "demo.d"] {
            let node = format!(
                "name = '{name}'\nrunner = {{ command = ['true'] }}\n[[parameters]]\nname = 'video_path'\ntype = 'path'\n\
                 [[parameters]]\nname = 'count'\ntype = 'integer'\n"
            );
            catalog.insert(parse_node(&node).unwrap());
        }
        catalog
    }

    fn faults(steps: &str) -> String {
        let pipeline = parse_pipeline(&format!("name = 'p'\n{steps}")).unwrap();
        pipeline.faults(&catalog()).join("\n")
    }

    #[test]
    fn a_cycle_is_refused_with_its_path() {
        let found = faults(
            "[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.b'\nneeds = ['d']\n\
             [[steps]]\nnode = 'demo.c'\nneeds = ['b']\n[[steps]]\nnode = 'demo.d'\nneeds = ['a', 'c']",
        );
        assert_eq!(found, "its steps wait for each other: b -> d -> c -> b");
        assert!(faults("[[steps]]\nnode = 'demo.a'\nneeds = ['a']").contains("a -> a"));
        assert_eq!(
            faults("[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.b'\nneeds = ['a']"),
            ""
        );
    }

    #[test]
    fn what_a_pipeline_names_must_be_there() {
        for (steps, named) in [
            ("steps = []", "no steps"),
            ("[[steps]]\nnode = 'demo.x'", "no node 'demo.x'"),
            ("[[steps]]\nnode = 'demo.a'\nneeds = ['z']", "needs 'z'"),
            (
                "[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.a'\nname = 'again'",
                "both run demo.a",
            ),
            (
                "[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.b'\nname = 'a'",
                "two steps 'a'",
            ),
            ("[[steps]]\nnode = 'demo.a'\nweight = 0", "weight"),
            (
                "[[steps]]\nnode = 'demo.a'\nparameters = { count = 'x' }",
                "input_data.count",
            ),
            ("[[steps]]\nnode = 'demo.a'\nparameters = { cuont = 1 }", "'cuont'"),
            (
                "[[steps]]\nnode = 'demo.a'\nparameters = { video_path = '${{ video.file }}' }",
                "video.file",
            ),
            (
                "[[steps]]\nnode = 'demo.a'\nparameters = { count = '${{ stages.demo.b }}' }",
                "'${{ stages.demo.b }}' is not known",
            ),
            (
                "[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.b'\n\
                 parameters = { count = '${{ stages.demo.a.output.n }}' }",
                "output of demo.a",
            ),
        ] {
            let found = faults(steps);
            assert!(found.contains(named), "{steps}: {found}");
        }
        let good = "[[steps]]\nnode = 'demo.a'\nparameters = { video_path = '${{ video.path }}' }\n\
                    [[steps]]\nnode = 'demo.b'\nneeds = ['a']\n\
                    [[steps]]\nnode = 'demo.c'\nneeds = ['b']\nparameters = { count = '${{ stages.demo.a.output.n }}' }";
        assert_eq!(faults(good), "");
    }

    #[test]
    fn v2_a_step_brings_what_depends_on_it_and_nothing_before() {
        let text = "name = 'p'\n[[steps]]\nnode = 'demo.a'\n[[steps]]\nnode = 'demo.b'\nneeds = ['a']\n\
                    [[steps]]\nnode = 'demo.c'\nneeds = ['b']\n[[steps]]\nnode = 'demo.d'\n";
        let pipeline = parse_pipeline(text).unwrap();
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let chosen = pipeline.with_dependents(&names);
            chosen
                .map(|mut chosen| {
                    chosen.sort_unstable();
                    chosen.join(" ")
                })
                .map_err(str::to_owned)
        };
        assert_eq!(of(&["b"]), Ok("b c".into()));
        assert_eq!(of(&["demo.a"]), Ok("a b c".into()));
        assert_eq!(of(&["d", "c"]), Ok("c d".into()));
        assert_eq!(of(&["x"]), Err("x".into()));
    }
}
