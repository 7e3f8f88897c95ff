//! `[llm]`: the language models that nodes may ask. It has names of variables, never keys.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use onceover_types::spans::duration;

/// The providers beside the shipped ones, and the one that is asked if a request names none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    pub provider: String,
    pub providers: IndexMap<String, ProviderConfig>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            provider: "deepseek".into(),
            providers: IndexMap::new(),
        }
    }
}

/// One provider. Fields that are omitted are as shipped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Base of an API that speaks OpenAI's chat completions: `/chat/completions` is added to it.
    pub url: Option<String>,
    /// The provider's name of the model.
    pub model: Option<String>,
    /// Name of the environment variable that holds the key; if empty, no key is sent.
    pub key_env: Option<String>,
    /// 0 gives the least variation; sent only if it is set.
    pub temperature: Option<f64>,
    /// Longest reply.
    pub max_tokens: Option<u32>,
    /// Limit of one try.
    #[serde(deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
    /// How a reply of keyed lines is requested; if the provider refuses a format, the next one is tried.
    pub response_format: Option<ResponseFormat>,
    /// Whether the model may reason before it answers.
    pub thinking: Option<bool>,
    /// What is added to the body of a request where `thinking` is off.
    pub thinking_off: Option<Map<String, Value>>,
    /// What is added to the body of every request.
    pub body: Map<String, Value>,
    /// Headers of every request. They must hold no secrets.
    pub headers: IndexMap<String, String>,
}

/// The `response_format` of a request, from the strictest to none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// JSON of a given schema.
    JsonSchema,
    /// Any JSON object.
    JsonObject,
    /// None is sent.
    Text,
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
