//! The language model providers: which there are, what is missing for each, and its key, which leaves the environment
//! only as the header of a request.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use indexmap::IndexMap;
use onceover_types::{FieldError, Missing};
use reqwest::{
    Client,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::{Map, Value};
use url::Url;

use super::config::{LlmConfig, ProviderConfig, ResponseFormat};
use super::dialect::Dialect;
use onceover_run::tool::is_inherited;

/// What is known without configuration.
const SHIPPED: &str = include_str!("../../../../assets/llm-providers.toml");

const DEFAULT_MAX_TOKENS: u32 = 8192;
/// Limit of one try.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Keys of the shipped file that name the sources of the others.
const SOURCES: [&str; 2] = ["source", "read"];
/// Keys of a request's body that the nodes themselves write.
const OURS: [&str; 9] = [
    "model",
    "messages",
    "stream",
    "n",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "response_format",
    "tools",
];
/// Headers that the client itself writes.
const WRITTEN: [&str; 6] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
];

/// Every provider of this daemon, and the client that asks them. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Providers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    default: String,
    known: IndexMap<String, Provider>,
    /// The dialect of each provider, as far as its refusals have shown it, by name.
    learned: Mutex<HashMap<String, Dialect>>,
    /// Made when the first node asks; most daemons never need it.
    client: OnceLock<Client>,
}

/// One provider, with the shipped values for what is not configured.
#[derive(Debug, Clone)]
pub struct Provider {
    pub name: String,
    pub url: Option<Url>,
    pub model: Option<String>,
    /// The variable with the key; `None` if the provider needs no key.
    pub key_env: Option<String>,
    /// `None` for the provider's default.
    pub temperature: Option<f64>,
    pub max_tokens: u32,
    pub timeout: Duration,
    pub response_format: ResponseFormat,
    /// Whether the model may reason before it answers.
    pub thinking: bool,
    /// What is added to the body of each request.
    pub body: Map<String, Value>,
    pub headers: HeaderMap,
    /// The value of the variable.
    key: Option<ProviderKey>,
}

/// A secret, which is never printed.
#[derive(Clone)]
pub(super) struct ProviderKey(String);

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl ProviderKey {
    /// Returns the value of an `Authorization` header; `Debug` shows it as "Sensitive".
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Replaces the key in a text of a provider, which may repeat it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl Default for Providers {
    fn default() -> Self {
        Self::new(&LlmConfig::default(), |name| std::env::var(name).ok())
            .expect("the shipped providers are read by a test")
    }
}

impl Providers {
    /// Returns the shipped providers with what the configuration says; `variable` reads the variables that hold keys.
    /// The error names the key of the configuration.
    pub fn new(config: &LlmConfig, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut merged = shipped().map_err(|why| format!("assets/llm-providers.toml: {why}"))?;
        for (name, given) in &config.providers {
            let entry = merged.entry(name.clone()).or_default();
            *entry = overridden(std::mem::take(entry), given.clone());
        }
        let known = merged
            .into_iter()
            .map(|(name, given)| {
                let provider = Provider::checked(&name, given, &variable)
                    .map_err(|(key, why)| format!("llm.providers.{name}.{key}: {why}"))?;
                Ok((name, provider))
            })
            .collect::<Result<IndexMap<_, _>, String>>()?;
        if !known.contains_key(&config.provider) {
            return Err(format!(
                "llm.provider: there is no provider '{}'; there are {}, and [llm.providers.{0}] makes it one",
                config.provider,
                names(&known)
            ));
        }
        Ok(Self(Arc::new(Inner {
            default: config.provider.clone(),
            known,
            learned: Mutex::default(),
            client: OnceLock::new(),
        })))
    }

    /// Returns the dialect of a provider.
    pub(super) fn dialect(&self, provider: &Provider) -> Dialect {
        let learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned
            .get(&provider.name)
            .cloned()
            .unwrap_or_else(|| Dialect::new(provider))
    }

    /// Keeps the dialect that a provider's refusal has led to, for as long as the daemon runs.
    pub(super) fn learn(&self, provider: &Provider, dialect: Dialect) {
        let mut learned = self.0.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.insert(provider.name.clone(), dialect);
    }

    /// Returns a provider by name; the configured default without one.
    pub fn get(&self, name: Option<&str>) -> Result<&Provider, String> {
        let name = name.unwrap_or(&self.0.default);
        self.0
            .known
            .get(name)
            .ok_or_else(|| format!("there is no provider '{name}'; there are {}", names(&self.0.known)))
    }

    /// Returns every provider.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.known.values()
    }

    /// Returns the provider that is asked by default, and which can be asked at all.
    pub fn in_words(&self) -> String {
        let ready: Vec<_> = self
            .0
            .known
            .values()
            .filter(|provider| provider.missing().is_none())
            .map(|provider| provider.name.as_str())
            .collect();
        let ready = match ready.is_empty() {
            true => "none".to_owned(),
            false => ready.join(", "),
        };
        let default = match self.get(None).map(Provider::missing) {
            Ok(Some(missing)) => format!("{}   (needs {missing})", self.0.default),
            _ => self.0.default.clone(),
        };
        format!("{default}; ready: {ready}")
    }

    /// Returns what is wrong with the provider a request names.
    pub fn check(&self, field: &str, name: &str) -> Option<FieldError> {
        self.get(Some(name)).err().map(|why| FieldError::new(field, why))
    }

    /// Makes the client. It follows no redirect: the key is for the configured address alone.
    pub(super) fn client(&self) -> reqwest::Result<&Client> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let builder = || {
            Client::builder()
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("Onceover/", env!("CARGO_PKG_VERSION")))
        };
        let client = builder().build().or_else(|error| {
            tracing::warn!("language models over https will fail, install ca-certificates: {error:?}");
            builder().tls_certs_only([]).build()
        })?;
        Ok(self.0.client.get_or_init(|| client))
    }
}

/// Returns what the file knows of each provider, without its sources.
fn shipped() -> Result<IndexMap<String, ProviderConfig>, toml::de::Error> {
    let tables: IndexMap<String, toml::Table> = toml::from_str(SHIPPED)?;
    let without_sources = |(name, mut table): (String, toml::Table)| {
        for key in SOURCES {
            table.remove(key);
        }
        Ok((name, table.try_into()?))
    };
    tables.into_iter().map(without_sources).collect()
}

/// Returns a provider's settings, replaced by those that are given; tables key by key.
fn overridden(known: ProviderConfig, given: ProviderConfig) -> ProviderConfig {
    let mut body = known.body;
    body.extend(given.body);
    let mut headers = known.headers;
    headers.extend(given.headers);
    ProviderConfig {
        url: given.url.or(known.url),
        model: given.model.or(known.model),
        key_env: given.key_env.or(known.key_env),
        temperature: given.temperature.or(known.temperature),
        max_tokens: given.max_tokens.or(known.max_tokens),
        timeout: given.timeout.or(known.timeout),
        response_format: given.response_format.or(known.response_format),
        thinking: given.thinking.or(known.thinking),
        thinking_off: given.thinking_off.or(known.thinking_off),
        body,
        headers,
    }
}

fn names(known: &IndexMap<String, Provider>) -> String {
    known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl Provider {
    fn checked(
        name: &str,
        given: ProviderConfig,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, (&'static str, String)> {
        let url = match given.url.filter(|url| !url.is_empty()) {
            None => None,
            Some(text) => Some(base_url(&text).map_err(|why| ("url", why))?),
        };
        let key_env = given.key_env.filter(|name| !name.is_empty());
        if let Some(name) = &key_env {
            if !is_variable(name) {
                return Err((
                    "key_env",
                    "give the name of an environment variable (A-Z a-z 0-9 _), not the key".into(),
                ));
            }
            if is_inherited(name) {
                return Err((
                    "key_env",
                    format!("programs of nodes would get {name}; choose another name"),
                ));
            }
        }
        if given.temperature.is_some_and(|number| !(0.0..=2.0).contains(&number)) {
            return Err(("temperature", "it must be a number from 0 to 2".into()));
        }
        let max_tokens = given.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS);
        if max_tokens < 16 {
            return Err(("max_tokens", "it must be at least 16".into()));
        }
        let timeout = given.timeout.unwrap_or(DEFAULT_TIMEOUT);
        if timeout.is_zero() {
            return Err(("timeout", "it must be above zero".into()));
        }
        let thinking = given.thinking.unwrap_or(false);
        let mut body = match (thinking, given.thinking_off) {
            (false, Some(off)) => off,
            _ => Map::new(),
        };
        body.extend(given.body);
        if let Some(key) = body.keys().find(|key| OURS.contains(&key.as_str())) {
            return Err(("body", format!("it cannot hold {key}, which the nodes write")));
        }
        Ok(Self {
            name: name.to_owned(),
            url,
            model: given.model.filter(|model| !model.is_empty()),
            key: key_env
                .as_deref()
                .and_then(variable)
                .map(|text| ProviderKey(text.trim().to_owned())),
            key_env,
            temperature: given.temperature,
            max_tokens,
            timeout,
            response_format: given.response_format.unwrap_or(ResponseFormat::JsonSchema),
            thinking,
            body,
            headers: headers(given.headers).map_err(|why| ("headers", why))?,
        })
    }

    /// Returns the setting or variable that is missing for it.
    pub fn missing(&self) -> Option<Missing> {
        let name = &self.name;
        let setting = |what: &str, key: &str| Missing {
            what: format!("{what} of the language model provider '{name}'"),
            how: format!("set llm.providers.{name}.{key} in the configuration"),
        };
        if self.url.is_none() {
            return Some(setting("the address", "url"));
        }
        if self.model.is_none() {
            return Some(setting("the model", "model"));
        }
        self.key().err()
    }

    /// Returns the key; `None` for a provider that needs none. The error names the variable.
    pub(super) fn key(&self) -> Result<Option<&ProviderKey>, Missing> {
        let Some(variable) = &self.key_env else {
            return Ok(None);
        };
        let lacks = |what: &str| Missing {
            what: format!(
                "the key of the language model provider '{}': {variable} {what}",
                self.name
            ),
            how: format!("start onceoverd with {variable} in its environment"),
        };
        let key = self.key.as_ref().ok_or_else(|| lacks("is not set"))?;
        if key.0.is_empty() {
            return Err(lacks("is empty"));
        }
        match key.header() {
            Some(_) => Ok(Some(key)),
            None => Err(lacks("holds characters that no key has")),
        }
    }

    /// Returns the address that questions are sent to.
    pub(super) fn endpoint(&self) -> Option<Url> {
        let mut url = self.url.clone()?;
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        Some(url)
    }
}

fn headers(given: IndexMap<String, String>) -> Result<HeaderMap, String> {
    let header = |(name, value): (String, String)| {
        let known = HeaderName::try_from(&name).map_err(|_| format!("'{name}' is no name of a header"))?;
        if WRITTEN.contains(&known.as_str()) {
            return Err(format!("{name} is written by the client; a key comes from key_env"));
        }
        let value = HeaderValue::try_from(value).map_err(|_| format!("the value of {name} cannot be sent"))?;
        Ok((known, value))
    };
    given.into_iter().map(header).collect()
}

fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|why| format!("not a URL ({why})"))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err("it must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("it must have no user, password or query; a key comes from the variable that key_env names".into());
    }
    Ok(url)
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(text: &str) -> Result<Providers, String> {
        Providers::new(&toml::from_str(text).map_err(|why| why.to_string())?, |name| {
            std::env::var(name).ok()
        })
    }

    #[test]
    fn the_named_providers_are_known_and_the_configuration_goes_first() {
        let known = Providers::default();
        for name in ["deepseek", "gemini", "openai", "zhipu", "volcengine"] {
            let provider = known.get(Some(name)).unwrap();
            assert!(
                provider.url.as_ref().is_some_and(|url| url.scheme() == "https"),
                "{name}"
            );
            assert!(provider.key_env.is_some(), "{name}");
            assert!(provider.model.is_some(), "{name}");
        }
        for name in ["ollama", "vllm", "llama_cpp"] {
            let provider = known.get(Some(name)).unwrap();
            assert!(provider.url.is_some() && provider.key_env.is_none(), "{name}");
        }
        assert!(known.get(Some("openai_compatible")).unwrap().url.is_none());
        let error = known.get(Some("oracle")).unwrap_err();
        assert!(error.contains("oracle") && error.contains("deepseek"), "{error}");

        let known = providers(
            "provider = 'local'\n[providers.local]\nurl = 'http://10.0.0.5:8000/v1/'\nmodel = 'm'\ntimeout = '20s'\n\
             [providers.deepseek]\nmodel = 'deepseek-reasoner'",
        )
        .unwrap();
        let local = known.get(None).unwrap();
        assert_eq!(
            local.endpoint().unwrap().as_str(),
            "http://10.0.0.5:8000/v1/chat/completions"
        );
        assert_eq!((local.timeout, local.max_tokens), (Duration::from_secs(20), 8192));
        assert_eq!(local.missing(), None);
        let deepseek = known.get(Some("deepseek")).unwrap();
        assert_eq!(deepseek.model.as_deref(), Some("deepseek-reasoner"));
        assert_eq!(deepseek.key_env.as_deref(), Some("DEEPSEEK_API_KEY"));
    }

    #[test]
    fn what_a_provider_lacks_is_named() {
        let known = providers("[providers.deepseek]\nkey_env = 'ONCEOVER_TEST_NO_SUCH_KEY'").unwrap();
        let missing = known.get(None).unwrap().missing().unwrap().to_string();
        assert!(
            missing.contains("ONCEOVER_TEST_NO_SUCH_KEY") && missing.contains("deepseek"),
            "{missing}"
        );
        let missing = known
            .get(Some("openai_compatible"))
            .unwrap()
            .missing()
            .unwrap()
            .to_string();
        assert!(missing.contains("llm.providers.openai_compatible.url"), "{missing}");
        let missing = known.get(Some("ollama")).unwrap().missing().unwrap().to_string();
        assert!(missing.contains("llm.providers.ollama.model"), "{missing}");
        assert_eq!(known.get(Some("llama_cpp")).unwrap().missing(), None);
    }

    #[test]
    fn each_shipped_provider_names_its_dated_source() {
        let tables: IndexMap<String, toml::Table> = toml::from_str(SHIPPED).unwrap();
        for (name, table) in tables.into_iter().filter(|(name, _)| name != "openai_compatible") {
            let text = |key: &str| table[key].as_str().unwrap_or_else(|| panic!("{name}.{key}")).to_owned();
            assert!(text("source").starts_with("https://"), "{name}");
            assert!(text("read").parse::<jiff::civil::Date>().is_ok(), "{name}");
        }
    }

    #[test]
    fn thinking_is_off_unless_it_is_asked_for() {
        let known = providers("").unwrap();
        let body = |known: &Providers, name: &str| known.get(Some(name)).unwrap().body.clone();
        assert_eq!(body(&known, "deepseek")["thinking"]["type"], "disabled");
        assert_eq!(body(&known, "vllm")["chat_template_kwargs"]["enable_thinking"], false);
        let known = providers(
            "[providers.deepseek]\nthinking = true\nbody = { top_p = 0.5 }\n[providers.ollama]\n\
             thinking_off = { think = false }\n[providers.ollama.headers]\nX-Title = 'Onceover'",
        )
        .unwrap();
        assert_eq!(Value::from(body(&known, "deepseek")), serde_json::json!({"top_p": 0.5}));
        assert_eq!(Value::from(body(&known, "ollama")), serde_json::json!({"think": false}));
        assert_eq!(known.get(Some("ollama")).unwrap().headers["x-title"], "Onceover");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (text, key) in [
            ("provider = 'nope'", "llm.provider"),
            ("[providers.x]\nurl = 'ftp://a'", "llm.providers.x.url"),
            ("[providers.x]\nurl = 'https://me:secret@a'", "llm.providers.x.url"),
            ("[providers.x]\nurl = 'https://a?key=1'", "llm.providers.x.url"),
            ("[providers.x]\nkey_env = 'sk-123'", "llm.providers.x.key_env"),
            ("[providers.x]\nkey_env = 'PYTHON_KEY'", "llm.providers.x.key_env"),
            ("[providers.x]\ntemperature = 3", "llm.providers.x.temperature"),
            ("[providers.x]\nmax_tokens = 0", "llm.providers.x.max_tokens"),
            ("[providers.x]\ntimeout = '0s'", "llm.providers.x.timeout"),
            ("[providers.x]\nkey = 'sk-1'", "key_env"),
            ("[providers.x]\nbody = { model = 'x' }", "llm.providers.x.body"),
            ("[providers.x]\nheaders = { 'a b' = 'x' }", "llm.providers.x.headers"),
            ("[providers.x]\nheaders = { Authorization = 'x' }", "key_env"),
            ("[providers.x]\nresponse_format = 'xml'", "json_schema"),
        ] {
            let error = providers(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
            assert!(!error.contains("secret@"), "{error}");
        }
    }

    #[test]
    fn d36_a_key_is_shown_nowhere() {
        let key = ProviderKey("sk-1234".into());
        assert!(!format!("{:?}", key.header()).contains("1234"));
        assert_eq!(key.hidden_in("Incorrect API key: sk-1234."), "Incorrect API key: ***.");
    }
}
