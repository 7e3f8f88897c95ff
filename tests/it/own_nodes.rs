//! `docs/writing-a-node.md`: its examples are added to a running daemon as it says, and do what it says.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use onceover_tests::Daemon;
use onceover_types::StageState;
use onceover_wire::StageView;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/writing-a-node.md");

/// The files of the page: a line that begins with the file's name in backquotes, then its text in a fence.
pub(crate) fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut name = None;
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("`nodes/") {
            name = rest.split('`').next().map(str::to_owned);
        } else if line.starts_with("```")
            && let Some(name) = name.take()
        {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            files.insert(name, text.join("\n") + "\n");
        }
    }
    files
}

/// A daemon that was given the folder with the page's files, and nothing else.
async fn daemon(folder: &Path) -> Daemon {
    for (name, text) in files() {
        let path = folder.join(&name);
        fs::write(&path, text).unwrap();
        if name.ends_with(".sh") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let setting = PAGE.lines().find(|line| line.starts_with("node_dirs = ")).unwrap();
    let setting = setting.replace("/srv/onceover/nodes", &folder.display().to_string());
    Daemon::builder().config(&setting).nodes("").start().await
}

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).unwrap()
}

#[tokio::test]
async fn the_pages_examples_in_shell_and_python_are_nodes_without_a_rebuild() {
    let names: Vec<_> = files().into_keys().collect();
    assert_eq!(
        names,
        [
            "count_words.sh",
            "mine.count_words.toml",
            "mine.reverse_lines.toml",
            "reverse_lines.py"
        ]
    );
    for (name, text) in files() {
        let code = text.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(
            name.ends_with(".toml") || code <= 12,
            "{name} has {code} lines, about ten were promised"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(folder.path()).await;
    let text = daemon.dir().join("notes.txt");
    fs::write(&text, "one two\n\nthree\n").unwrap();

    let stage = daemon.done("t1", "mine.count_words", json!({"text_path": text})).await;
    assert_eq!(output(&stage), json!({"words": 3}));
    let log = daemon.get("/v1/tasks/t1/stages/mine.count_words/log").await.text;
    assert!(log.contains("counted ") && log.contains("notes.txt"), "{log}");
    assert!(
        daemon
            .submit("t1", "mine.count_words", json!({"text_path": text}))
            .await
            .reuse_info
            .reuse_hit
    );

    let node = "mine.reverse_lines";
    let stage = daemon.done("t1", node, json!({"text_path": text})).await;
    let output = output(&stage);
    let path = output["reversed_path"].as_str().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "three\n\none two\n");
    assert!(path.contains("/runs/"), "{path}");
    let again = daemon.submit("t1", node, json!({"text_path": text})).await;
    assert!(again.reuse_info.reuse_hit);

    // Its own word for what went wrong, and the daemon's for what a request says wrong.
    fs::write(&text, "").unwrap();
    daemon.submit("t2", node, json!({"text_path": text})).await;
    let stage = daemon.until_ended("t2", node).await;
    assert_eq!(stage.status, StageState::Failed);
    assert_eq!(stage.error.as_deref(), Some("the file has no lines; give one that has"));
    for (input, field) in [
        (json!({}), "input_data.text_path"),
        (json!({"text_path": text, "keep_empty": "yes"}), "input_data.keep_empty"),
    ] {
        let body = json!({"task_name": node, "task_id": "t3", "input_data": input});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!((answer.status, answer.fields()), (422, vec![field.to_owned()]));
    }
}
