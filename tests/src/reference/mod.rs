//! The reference of the nodes, `docs/technical/reference/SINGLE_TASK_API_REFERENCE.md`: written from the node files and
//! from answers that a real daemon gave (`tests/reference/recorded`).

pub mod examples;
pub mod record;
pub mod redact;
pub mod render;
pub mod samples;
pub mod scenario;
pub mod schema;
pub mod videos;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use onceover_catalog::{NodeSpec, parse_node};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One call and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// `POST /v1/tasks`.
    pub call: String,
    /// The path as the API's description has it.
    pub route: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub request: Value,
    pub status: u16,
    pub answer: Value,
}

/// What a callback's receiver got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivered {
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

/// The examples of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeRecording {
    /// Whether a stand-in answered in the node's place.
    pub stand_in: bool,
    pub miss: Exchange,
    pub in_flight: Exchange,
    pub hit: Exchange,
}

/// The examples of the general part, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneralRecording {
    pub exchanges: BTreeMap<String, Exchange>,
    pub callbacks: BTreeMap<String, Delivered>,
}

/// Everything that was recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recordings {
    pub general: GeneralRecording,
    pub nodes: BTreeMap<String, NodeRecording>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The document.
pub fn document() -> PathBuf {
    repository().join("docs/technical/reference/SINGLE_TASK_API_REFERENCE.md")
}

fn recorded() -> PathBuf {
    repository().join("tests/reference/recorded")
}

/// The shipped nodes, by name.
pub fn catalog() -> Vec<NodeSpec> {
    let mut nodes: Vec<_> = fs::read_dir(repository().join("assets/nodes"))
        .expect("the node files are there")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "toml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a node file can be read");
            parse_node(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect();
    nodes.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    nodes
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Recordings {
    /// As they are in the repository.
    pub fn load() -> Self {
        let mut recordings = Self::default();
        for entry in fs::read_dir(recorded()).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a recording can be read");
            if name == "general" {
                recordings.general = read(&path, &text);
            } else {
                recordings.nodes.insert(name, read(&path, &text));
            }
        }
        recordings
    }

    /// Puts them into the repository in place of what is there.
    pub fn store(&self) {
        let folder = recorded();
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the folder is made");
        let write = |name: &str, text: serde_json::Result<String>| {
            let text = text.expect("JSON can be written") + "\n";
            fs::write(folder.join(format!("{name}.json")), text).expect("a recording is written");
        };
        write("general", serde_json::to_string_pretty(&self.general));
        for (name, node) in &self.nodes {
            write(name, serde_json::to_string_pretty(node));
        }
    }

    /// Every call with its answer, and where it belongs.
    pub fn exchanges(&self) -> impl Iterator<Item = (String, &Exchange)> {
        let general = self.general.exchanges.iter().map(|(name, one)| (name.clone(), one));
        let nodes = self.nodes.iter().flat_map(|(name, node)| {
            [("miss", &node.miss), ("in flight", &node.in_flight), ("hit", &node.hit)]
                .map(|(case, one)| (format!("{name}, {case}"), one))
        });
        general.chain(nodes)
    }
}
