//! `onceoverd check --llm` without a configured language model: servers on this machine are found, and it says how to
//! configure one.

use std::{fs, process::Command};

use onceover_tests::{
    chat::{ChatReply, ChatServer},
    model::ModelServer,
    program,
};
use serde_json::{Value, json};

/// A configuration whose default provider has no key; Ollama is where the server is.
fn config(server: &ChatServer, more: &str) -> String {
    format!("[llm.providers.ollama]\nurl = '{}'\n{more}", server.url())
}

/// Runs `onceoverd check --llm` on a configuration; the outcome, and all it printed.
async fn check(config: &str, words: &'static [&'static str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("onceover.toml");
    fs::write(&file, config).unwrap();
    let check = move || {
        let mut command = Command::new(program("onceoverd"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg("check")
            .arg("--config")
            .arg(file)
            .arg("--llm")
            .args(words);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        (output.status.success(), said)
    };
    let said = tokio::task::spawn_blocking(check).await.unwrap();
    drop(folder);
    said
}

/// A server with these models, which translates what it is asked.
async fn server(models: &[&str]) -> ChatServer {
    let server = ChatServer::start().await;
    let models: Vec<Value> = models.iter().map(|name| json!({"id": name})).collect();
    let list = json!({"object": "list", "data": models}).to_string();
    server.plan([ChatReply::Raw(list)]);
    server.serve(ModelServer::default());
    server
}

#[tokio::test]
async fn a_server_of_this_machine_is_found_and_the_lines_for_it_are_named() {
    let server = server(&["qwen3:8b", "llama3.2"]).await;
    let (ok, said) = check(&config(&server, ""), &["ollama"]).await;
    assert!(ok, "{said}");
    let found = format!("ollama at {}, with qwen3:8b, llama3.2", server.url());
    for part in [
        found.as_str(),
        "[llm]\nprovider = \"ollama\"",
        "[llm.providers.ollama]\nmodel = \"qwen3:8b\"",
        "--model 'qwen3:8b'",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "no model was named, so none was asked");
    assert_eq!(asked[0].path, "/v1/models");
    assert_eq!(asked[0].authorization, "", "no key is sent");
}

#[tokio::test]
async fn a_model_that_is_named_is_searched_for_and_asked_for_one_line() {
    let server = server(&["other", "of-the-test"]).await;
    let (ok, said) = check(&config(&server, ""), &["--model", "of-the-test"]).await;
    assert!(ok, "{said}");
    for part in [
        "model = \"of-the-test\"",
        "of-the-test of ollama translated",
        "gninrom dooG",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let asked = server.asked();
    assert_eq!(asked[0].path, "/v1/models");
    assert_eq!(
        (asked[1].path.as_str(), &asked[1].body["model"]),
        ("/v1/chat/completions", &json!("of-the-test"))
    );
}

#[tokio::test]
async fn where_nothing_answers_it_says_what_is_missing_and_where_it_looked() {
    let nowhere = "[llm.providers.ollama]\nurl = 'http://127.0.0.1:1/v1'\n";
    let (ok, said) = check(nowhere, &["ollama"]).await;
    assert!(!ok, "{said}");
    for part in ["llm.providers.ollama.model", "http://127.0.0.1:1/v1", "ollama pull"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
