//! `[llm]`: the language models that nodes may ask. Names of variables, never keys.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer};

use super::duration;

/// Which providers there are beside the shipped ones, and which is asked when a request names none.
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

/// One provider; what is left out is as shipped.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// Base of an API that speaks OpenAI's chat completions: `/chat/completions` is added to it.
    pub url: Option<String>,
    /// The model's name there.
    pub model: Option<String>,
    /// Name of the environment variable that holds the key; empty: none is sent.
    pub key_env: Option<String>,
    /// 0 is the most sober.
    pub temperature: Option<f64>,
    /// Longest reply.
    pub max_tokens: Option<u32>,
    /// Limit of one try.
    #[serde(deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
