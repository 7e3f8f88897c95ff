//! The resource class whose slots a run uses: one for all runs of a node, or one by the device that a run computes on.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Map, Value};

use super::{NodeSpec, is_placeholder};

/// Whether the machine has a GPU that programs could compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    Present,
    Absent,
}

/// Whether the value of a node's device parameter asks for a GPU.
pub fn asks_for_gpu(device: &str) -> bool {
    device.starts_with("cuda") || device.starts_with("gpu")
}

/// The device value with which a run chooses itself: a GPU where there is one.
const AUTO: &str = "auto";

/// The queue as a node file has it: `queue = "gpu"`, or `queue = { by = "device", gpu = "gpu", otherwise = "cpu" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum QueueSpec {
    One(String),
    ByDevice(DeviceQueues),
}

/// Resource classes by the device that a run computes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceQueues {
    /// The parameter that names the device.
    pub by: String,
    /// For a run whose device begins with `cuda` or `gpu`, and for `auto` where the daemon's machine has a GPU.
    pub gpu: String,
    /// For every other run. Such a run sees no GPU.
    pub otherwise: String,
}

impl QueueSpec {
    /// Returns every class that it names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Self::One(name) => (name, None),
            Self::ByDevice(queues) => (&queues.gpu, Some(&queues.otherwise)),
        };
        [Some(first), second].into_iter().flatten().map(String::as_str)
    }

    /// Whether a run in this class must not use a GPU, since it holds none of the slots that GPUs have.
    pub fn keeps_from_gpu(&self, queue: &str) -> bool {
        matches!(self, Self::ByDevice(queues) if queue != queues.gpu)
    }

    /// Returns the classes by device, if the class depends on it.
    pub fn by_device(&self) -> Option<&DeviceQueues> {
        match self {
            Self::One(_) => None,
            Self::ByDevice(queues) => Some(queues),
        }
    }
}

impl fmt::Display for QueueSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::ByDevice(queues) => write!(f, "{}", DeviceChoice(queues)),
        }
    }
}

impl DeviceQueues {
    /// Returns what follows the name of the queue that counts on this machine: ` here (by device: gpu on a GPU, else
    /// cpu)`.
    pub fn here_in_words(&self) -> String {
        format!(" here (by {}: {})", self.by, DeviceChoice(self))
    }
}

/// `gpu on a GPU, else cpu`.
struct DeviceChoice<'a>(&'a DeviceQueues);

impl fmt::Display for DeviceChoice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeviceQueues { by: _, gpu, otherwise } = self.0;
        write!(f, "{gpu} on a GPU, else {otherwise}")
    }
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self::One("cpu".into())
    }
}

impl<'de> Deserialize<'de> for QueueSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = QueueSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a queue, or { by = PARAMETER, gpu = QUEUE, otherwise = QUEUE }")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<QueueSpec, E> {
                Ok(QueueSpec::One(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<QueueSpec, A::Error> {
                DeviceQueues::deserialize(MapAccessDeserializer::new(map)).map(QueueSpec::ByDevice)
            }
        }

        deserializer.deserialize_any(Read)
    }
}

impl NodeSpec {
    /// Returns the class whose slots a run with this input uses. A value that an earlier stage gives counts as `auto`.
    pub fn queue_for(&self, input: &Map<String, Value>, gpu: Gpu) -> &str {
        let variant = self.variant(input).and_then(|at| self.variants.get(at));
        let varied = variant.and_then(|variant| variant.queue.as_ref());
        let queues = match varied.unwrap_or(&self.queue) {
            QueueSpec::One(name) => return name,
            QueueSpec::ByDevice(queues) => queues,
        };
        let value = self.parameter(&queues.by).and_then(|parameter| parameter.value(input));
        let device = value.filter(|value| !is_placeholder(value)).and_then(Value::as_str);
        match device.unwrap_or(AUTO) {
            device if asks_for_gpu(device) => &queues.gpu,
            AUTO if gpu == Gpu::Present => &queues.gpu,
            _ => &queues.otherwise,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::parse_node, *};

    const NODE: &str = "name = 'a.b'\nrunner = { command = ['x'] }\n\
        queue = { by = 'device', gpu = 'gpu', otherwise = 'cpu' }\n\
        [[parameters]]\nname = 'device'\ntype = 'string'\nmeaning = 'Where.'\n";

    #[test]
    fn a_run_uses_the_slots_of_the_device_it_computes_on() {
        let bare = parse_node(NODE).unwrap();
        let cpu = parse_node(&format!("{NODE}default = 'cpu'\n")).unwrap();
        for (node, input, gpu, expected) in [
            (&bare, json!({"device": "cuda"}), Gpu::Absent, "gpu"),
            (&bare, json!({"device": "cuda:1"}), Gpu::Present, "gpu"),
            (&bare, json!({"device": "cpu"}), Gpu::Present, "cpu"),
            (&bare, json!({"device": "auto"}), Gpu::Present, "gpu"),
            (&bare, json!({"device": "auto"}), Gpu::Absent, "cpu"),
            (&bare, json!({}), Gpu::Present, "gpu"),
            (&bare, json!({"device": null}), Gpu::Absent, "cpu"),
            (
                &bare,
                json!({"device": "${{ stages.x.y.output.z }}"}),
                Gpu::Present,
                "gpu",
            ),
            (&cpu, json!({}), Gpu::Present, "cpu"),
            (&cpu, json!({"device": "auto"}), Gpu::Present, "gpu"),
        ] {
            let input = input.as_object().unwrap();
            assert_eq!(node.queue_for(input, gpu), expected, "{input:?} {gpu:?}");
        }
        assert!(bare.queue.keeps_from_gpu("cpu") && !bare.queue.keeps_from_gpu("gpu"));
        let one = parse_node("name = 'a.b'\nrunner = { command = ['x'] }\nqueue = 'gpu'").unwrap();
        assert_eq!(one.queue_for(&Map::new(), Gpu::Absent), "gpu");
        assert!(!one.queue.keeps_from_gpu("cpu"));
        assert!(one.faults().is_empty() && bare.faults().is_empty());
        assert_eq!(bare.queue.to_string(), "gpu on a GPU, else cpu");
        let queues = bare.queue.by_device().unwrap();
        assert_eq!(queues.here_in_words(), " here (by device: gpu on a GPU, else cpu)");
    }

    #[test]
    fn a_wrong_queue_is_named() {
        let node = |queue: &str| {
            parse_node(&format!(
                "name = 'a.b'\nrunner = {{ command = ['x'] }}\nqueue = {queue}"
            ))
        };
        let error = |queue: &str| node(queue).unwrap_err().to_string();
        assert!(error("3").contains("the name of a queue, or { by"), "{}", error("3"));
        assert!(error("{ by = 'd', gpu = 'gpu' }").contains("otherwise"));
        let other = node("{ by = 'd', gpu = 'gpu', otherwise = 'cpu' }").unwrap();
        assert_eq!(other.faults(), ["there is no parameter 'd'"]);
    }
}
