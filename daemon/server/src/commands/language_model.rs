//! `onceoverd check --llm`: tries the configured language model. Where that lacks something, looks for servers on this
//! machine, and says how to configure the one that was found.

use anyhow::bail;
use onceover_nodes::llm::{
    Providers,
    local::{LocalServer, find_servers, list_addresses},
    trial,
};
use serde_json::{Map, json};

use crate::{app::providers, config::Config, console::print_line};

/// Names of models that a line lists.
const MOST_NAMES: usize = 8;

/// Puts one question to a language model: to that of the provider that is named or configured, else to one that is found
/// on this machine and named. Prints what came of it.
pub async fn check_model(config: &Config, provider: Option<&str>, model: Option<&str>) -> anyhow::Result<()> {
    let configured = providers(config)?;
    let name = &configured.get(provider).map_err(anyhow::Error::msg)?.name;
    let wanted = match model {
        None => configured.clone(),
        Some(model) => providers(&with_model(config, name, model))?,
    };
    let Some(missing) = wanted.get(Some(name)).map_err(anyhow::Error::msg)?.missing() else {
        return ask(&wanted, name).await;
    };
    let addresses = list_addresses(&configured, provider);
    let asked: Vec<_> = addresses.iter().map(|server| server.url.to_string()).collect();
    let servers = find_servers(addresses).await?;
    if servers.is_empty() {
        let searched = match asked.is_empty() {
            true => String::new(),
            false => format!(
                "\nno language model server answers on this machine at {}; Ollama is one: ollama serve, ollama pull MODEL",
                asked.join(", ")
            ),
        };
        bail!("this machine lacks {missing}{searched}");
    }
    for server in &servers {
        print_line!("found        {}", in_words(server));
    }
    let (server, chosen) = choose(&configured, &servers, model)?;
    print_line!(
        "configure    with these lines:\n\n{}",
        lines_for(server, chosen.name())?
    );
    match chosen {
        ChosenModel::Named(model) => {
            let mut config = with_model(config, &server.provider, &model);
            config.llm.provider.clone_from(&server.provider);
            let settings = config.llm.providers.entry(server.provider.clone()).or_default();
            settings.url = Some(server.url.to_string());
            ask(&providers(&config)?, &server.provider).await
        }
        ChosenModel::Listed(model) => {
            let command = config.environments().command("check --llm");
            // The name is the server's, and a shell is to take it as one word.
            print_line!("try it       {command} --model '{}'", model.replace('\'', r"'\''"));
            Ok(())
        }
    }
}

/// The model that the lines of configuration name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ChosenModel {
    /// By the command or the configuration: it is asked.
    Named(String),
    /// The first that the server lists.
    Listed(String),
}

impl ChosenModel {
    fn name(&self) -> &str {
        match self {
            Self::Named(model) | Self::Listed(model) => model,
        }
    }
}

/// Chooses a server: that with the model that is named, else the first whose provider has a model configured, else the
/// first that lists one. The error is for people.
fn choose<'a>(
    providers: &Providers,
    servers: &'a [LocalServer],
    model: Option<&str>,
) -> anyhow::Result<(&'a LocalServer, ChosenModel)> {
    if let Some(model) = model {
        let server = servers
            .iter()
            .find(|server| server.models.iter().any(|name| name == model));
        return match server {
            Some(server) => Ok((server, ChosenModel::Named(model.to_owned()))),
            None => bail!("none of these servers has the model '{model}'"),
        };
    }
    let configured = |server: &LocalServer| {
        let provider = providers.get(Some(&server.provider)).ok()?;
        provider.model.clone().filter(|_| server.is_provided)
    };
    let mut named = servers.iter().filter_map(|server| Some((server, configured(server)?)));
    if let Some((server, model)) = named.next() {
        return Ok((server, ChosenModel::Named(model)));
    }
    let mut listed = servers
        .iter()
        .filter_map(|server| Some((server, server.models.first()?)));
    match listed.next() {
        Some((server, model)) => Ok((server, ChosenModel::Listed(model.clone()))),
        None => bail!("none of these servers has a model; with Ollama: ollama pull MODEL"),
    }
}

async fn ask(providers: &Providers, name: &str) -> anyhow::Result<()> {
    let came = trial::ask(providers, Some(name)).await.map_err(anyhow::Error::msg)?;
    print_line!("llm          {came}");
    Ok(())
}

/// The configuration with another model of a provider.
fn with_model(config: &Config, provider: &str, model: &str) -> Config {
    let mut config = config.clone();
    let settings = config.llm.providers.entry(provider.to_owned()).or_default();
    settings.model = Some(model.to_owned());
    config
}

fn in_words(server: &LocalServer) -> String {
    let models: Vec<_> = server.models.iter().take(MOST_NAMES).map(String::as_str).collect();
    let models = match (models.as_slice(), server.models.len().saturating_sub(MOST_NAMES)) {
        ([], _) => "without a model".to_owned(),
        (models, 0) => format!("with {}", models.join(", ")),
        (models, more) => format!("with {} and {more} more", models.join(", ")),
    };
    format!("{} at {}, {models}", server.provider, server.url)
}

/// The lines of configuration by which nodes ask a model of a server.
fn lines_for(server: &LocalServer, model: &str) -> Result<String, toml::ser::Error> {
    let mut settings = Map::new();
    if !server.is_provided {
        settings.insert("url".into(), server.url.as_str().into());
    }
    settings.insert("model".into(), model.into());
    let provider = server.provider.as_str();
    toml::to_string(&json!({"llm": {"provider": provider, "providers": {(provider): settings}}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(provider: &str, is_provided: bool, models: &[&str]) -> LocalServer {
        LocalServer {
            provider: provider.to_owned(),
            url: "http://127.0.0.1:1234/v1".parse().unwrap(),
            is_provided,
            models: models.iter().map(|&model| model.to_owned()).collect(),
        }
    }

    fn configured(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_lines_that_are_named_are_a_configuration_that_lacks_nothing() {
        for (server, model) in [
            (server("ollama", true, &["qwen3:8b"]), "qwen3:8b"),
            (server("openai_compatible", false, &[]), "a \"model\" of Ann's"),
        ] {
            let text = lines_for(&server, model).unwrap();
            let providers = providers(&configured(&text)).unwrap();
            let provider = providers.get(None).unwrap();
            assert_eq!((provider.name.as_str(), provider.missing()), (&*server.provider, None));
            assert_eq!(provider.model.as_deref(), Some(model), "{text}");
        }
    }

    #[test]
    fn a_model_that_is_named_or_configured_is_chosen_before_the_first_one() {
        let servers = [
            server("vllm", true, &[]),
            server("openai_compatible", false, &["small", "large"]),
            server("ollama", true, &["other"]),
        ];
        type Chosen = Result<(String, ChosenModel), String>;
        let chosen = |text: &str, model: Option<&str>| -> Chosen {
            let providers = providers(&configured(text)).unwrap();
            let chosen = choose(&providers, &servers, model).map_err(|why| why.to_string());
            chosen.map(|(server, model)| (server.provider.clone(), model))
        };
        let named =
            |provider: &str, model: &str| -> Chosen { Ok((provider.to_owned(), ChosenModel::Named(model.to_owned()))) };
        let listed = |provider: &str, model: &str| -> Chosen {
            Ok((provider.to_owned(), ChosenModel::Listed(model.to_owned())))
        };
        assert_eq!(chosen("", None), listed("openai_compatible", "small"));
        assert_eq!(chosen("", Some("large")), named("openai_compatible", "large"));
        let own = "[llm.providers.ollama]\nmodel = 'mine'\n";
        assert_eq!(chosen(own, None), named("ollama", "mine"));
        let error = chosen("", Some("huge")).unwrap_err();
        assert!(error.contains("'huge'"), "{error}");
    }
}
