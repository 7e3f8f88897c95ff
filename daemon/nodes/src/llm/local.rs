//! `onceoverd check --llm`: finds language model servers on this machine, and the models that each has. They are asked on
//! loopback addresses alone, and get nothing but the question which models there are.

use std::time::Duration;

use futures_util::{StreamExt, future::join_all};
use reqwest::{Client, redirect::Policy};
use serde_json::Value;
use url::{Host, Url};

use super::{client::LONGEST_ANSWER, providers::Providers};

/// How long a server may take to list its models.
const PATIENCE: Duration = Duration::from_secs(2);
/// Provider of a server at an address that no provider has.
const ANY_PROVIDER: &str = "openai_compatible";
/// Ports that servers listen on by default for which there is no provider: LM Studio, Jan, KoboldCpp and SGLang.
const OTHER_PORTS: [u16; 4] = [1234, 1337, 5001, 30000];

/// A server on this machine that speaks OpenAI's API, or an address that may have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServer {
    /// The provider that asks it.
    pub provider: String,
    pub url: Url,
    /// Whether the provider has this address without a further setting.
    pub is_provided: bool,
    /// Names of its models, as it lists them.
    pub models: Vec<String>,
}

/// Returns the addresses of this machine that may have a server: those of the providers, or of one of them, and the usual
/// ports of others.
pub fn list_addresses(providers: &Providers, only: Option<&str>) -> Vec<LocalServer> {
    let server = |provider: &str, url: &Url, is_provided: bool| LocalServer {
        provider: provider.to_owned(),
        url: url.clone(),
        is_provided,
        models: Vec::new(),
    };
    let chosen = providers
        .iter()
        .filter(|provider| only.is_none_or(|name| name == provider.name));
    let mut servers: Vec<_> = chosen
        .filter_map(|provider| Some(server(&provider.name, provider.url.as_ref()?, true)))
        .filter(|server| is_loopback(&server.url))
        .collect();
    if only.is_some() {
        return servers;
    }
    for port in OTHER_PORTS {
        let url = Url::parse(&format!("http://127.0.0.1:{port}/v1"));
        let is_listed = servers.iter().any(|server| server.url.port() == Some(port));
        servers.extend(
            url.iter()
                .filter(|_| !is_listed)
                .map(|url| server(ANY_PROVIDER, url, false)),
        );
    }
    servers
}

/// Returns those of the addresses that have a server, with its models.
pub async fn find_servers(addresses: Vec<LocalServer>) -> reqwest::Result<Vec<LocalServer>> {
    // A proxy leads to another machine.
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .tls_certs_only([])
        .timeout(PATIENCE)
        .build()?;
    let asked = addresses.into_iter().map(|server| {
        let client = client.clone();
        async move {
            let models = list_models(&client, &server.url).await?;
            Some(LocalServer { models, ..server })
        }
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Returns the models that a server lists; `None` where nothing answers as one.
async fn list_models(client: &Client, base: &Url) -> Option<Vec<String>> {
    let mut address = base.clone();
    address.path_segments_mut().ok()?.pop_if_empty().push("models");
    let response = client.get(address).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.ok()?);
        if bytes.len() > LONGEST_ANSWER {
            return None;
        }
    }
    let answer: Value = serde_json::from_slice(&bytes).ok()?;
    match answer.get("data")? {
        // Ollama without a model.
        Value::Null => Some(Vec::new()),
        Value::Array(models) => {
            let names = models.iter().filter_map(|model| model.get("id")?.as_str());
            // The names are printed.
            let names = names.filter(|name| !name.is_empty() && !name.chars().any(char::is_control));
            Some(names.map(str::to_owned).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::llm::LlmConfig;

    /// Starts a server that gives this answer to a question for its models, and 404 to others.
    async fn serve(status: &str, body: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = |status: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        };
        let (listed, unknown) = (answer(status, body), answer("404 Not Found", ""));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let is_asked = request.starts_with(b"GET /v1/models ");
                let answer = if is_asked { &listed } else { &unknown };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        format!("http://127.0.0.1:{port}/v1")
    }

    fn providers(text: &str) -> Providers {
        let config: LlmConfig = toml::from_str(text).unwrap();
        Providers::new(&config, |_| None).unwrap()
    }

    #[test]
    fn the_usual_addresses_of_this_machine_are_asked_and_no_others() {
        let providers = providers("[providers.far]\nurl = 'http://10.0.0.5:8000/v1'\n");
        let listed = |only: Option<&str>| -> Vec<String> {
            let servers = list_addresses(&providers, only).into_iter();
            servers
                .map(|server| format!("{} {}", server.provider, server.url))
                .collect()
        };
        let all = listed(None);
        for server in [
            "ollama http://127.0.0.1:11434/v1",
            "vllm http://127.0.0.1:8000/v1",
            "llama_cpp http://127.0.0.1:8080/v1",
            "openai_compatible http://127.0.0.1:1234/v1",
        ] {
            assert!(all.iter().any(|listed| listed == server), "{server}: {all:?}");
        }
        assert!(all.iter().all(|server| server.contains("127.0.0.1")), "{all:?}");
        assert_eq!(listed(Some("ollama")), ["ollama http://127.0.0.1:11434/v1"]);
        assert_eq!(listed(Some("far")), [""; 0]);
    }

    #[tokio::test]
    async fn a_server_is_what_lists_models_and_nothing_else_that_listens() {
        let several = r#"{"object": "list", "data": [{"id": "qwen3:8b"}, {"id": "bad\u001b[2J"}, {"id": "llama3.2"}]}"#;
        let mut addresses = Vec::new();
        for (name, status, body) in [
            ("several", "200 OK", several),
            ("empty", "200 OK", r#"{"object": "list", "data": null}"#),
            ("website", "200 OK", "<html></html>"),
            ("other", "200 OK", r#"{"status": "up"}"#),
            ("closed", "401 Unauthorized", several),
        ] {
            addresses.push(LocalServer {
                provider: name.to_owned(),
                url: Url::parse(&serve(status, body).await).unwrap(),
                is_provided: true,
                models: Vec::new(),
            });
        }
        // Nothing listens there any more.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        addresses.push(LocalServer {
            provider: "nobody".to_owned(),
            url: Url::parse(&format!("http://{free}/v1")).unwrap(),
            is_provided: true,
            models: Vec::new(),
        });
        let found = find_servers(addresses).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|server| (server.provider.as_str(), server.models.join(" ")))
            .collect();
        assert_eq!(
            found,
            [("several", "qwen3:8b llama3.2".to_owned()), ("empty", String::new())]
        );
    }
}
