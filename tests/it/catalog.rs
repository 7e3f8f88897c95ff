//! The catalog as clients see it: what each node accepts and refuses, what is missing for it on this machine, own
//! nodes.

use std::{fs, path::Path, process::Command};

use onceover_catalog::{ParameterSpec, ValueKind};
use onceover_tests::{
    Daemon, HttpAnswer, RedisServer,
    daemon::{node_name, request, task_id},
    program,
};
use onceover_types::StageState;
use onceover_wire::{BatchRequest, NodeInfo, ReuseDecision, ReuseMode, SubmitRequest, client::ClientError};
use serde_json::{Map, Value, json};

const TASK: &str = "t1";

/// A request that has to be refused, and the parameters the refusal has to name.
struct Refused {
    what: String,
    request: SubmitRequest,
    named: Vec<String>,
}

/// Values that a parameter does not take, with what is wrong about them.
fn wrong_values(parameter: &ParameterSpec) -> Vec<(&'static str, Value)> {
    let kinds: Vec<ValueKind> = std::iter::once(parameter.kind)
        .chain(parameter.also.iter().copied())
        .collect();
    let any = [json!({"x": 1}), json!(["x"]), json!(true), json!(1.5), json!("text")];
    let mut wrong: Vec<_> = any
        .into_iter()
        .filter(|value| !kinds.iter().any(|kind| kind.accepts(value)))
        .map(|value| ("a wrong type", value))
        .collect();
    // In an array when it is one.
    let number = |number: f64| match parameter.kind {
        ValueKind::Array => json!(vec![number; parameter.min_length.unwrap_or(1).max(1)]),
        _ => json!(number),
    };
    let long = |length: usize| match parameter.kind {
        ValueKind::Array => json!(vec![parameter.min.unwrap_or(1.0); length]),
        _ => json!("x".repeat(length)),
    };
    wrong.extend(parameter.min.map(|min| ("less than the least", number(min - 1.0))));
    wrong.extend(parameter.max.map(|max| ("more than the most", number(max + 1.0))));
    wrong.extend(
        parameter
            .min_length
            .filter(|min| *min > 0)
            .map(|min| ("too short", long(min - 1))),
    );
    wrong.extend(
        parameter
            .max_length
            .filter(|max| *max < 100_000)
            .map(|max| ("too long", long(max + 1))),
    );
    if !parameter.allowed.is_empty() {
        wrong.push(("none of the allowed", json!("onceover-none-of-them")));
    }
    if let Some(items) = parameter.items {
        let element = if items.accepts(&json!("x")) {
            json!(1)
        } else {
            json!("x")
        };
        wrong.push((
            "a wrong element",
            json!(vec![element; parameter.min_length.unwrap_or(1).max(1)]),
        ));
    }
    if parameter.kind == ValueKind::Path {
        wrong.push(("a path outside", json!("/etc/passwd")));
    }
    wrong
}

fn refused(node: &NodeInfo) -> Vec<Refused> {
    let refused = |what: String, input: Map<String, Value>, named: Vec<String>| Refused {
        what,
        request: request(TASK, node.name.as_str(), Value::Object(input), None, ReuseMode::Auto),
        named,
    };
    let mut all = Vec::new();
    for parameter in &node.parameters {
        for name in std::iter::once(&parameter.name).chain(&parameter.aliases) {
            for (what, value) in wrong_values(parameter) {
                let input = Map::from_iter([(name.clone(), value)]);
                all.push(refused(
                    format!("{}.{name}: {what}", node.name),
                    input,
                    vec![name.clone()],
                ));
            }
        }
        if parameter.required && parameter.default.is_none() {
            let what = format!("{}.{}: left out", node.name, parameter.name);
            // What a stage could give is looked for once all else is there.
            let may_come = |parameter: &ParameterSpec| !parameter.fallbacks.is_empty();
            let others = node
                .parameters
                .iter()
                .filter(|other| may_come(parameter) && other.required && other.default.is_none() && !may_come(other));
            let input = others.map(|other| (other.name.clone(), json!("clip.mp4"))).collect();
            all.push(refused(what, input, vec![parameter.name.clone()]));
        }
    }
    for group in &node.one_of {
        let has_default = |name: &String| {
            let mut parameters = node.parameters.iter();
            parameters.any(|parameter| parameter.name == *name && parameter.default.is_some())
        };
        if !group.iter().any(has_default) {
            // What a stage could give is looked for once all else is there.
            let others = node.parameters.iter().filter(|other| {
                other.required && other.default.is_none() && other.fallbacks.is_empty() && !group.contains(&other.name)
            });
            let input = others.map(|other| (other.name.clone(), json!("clip.mp4"))).collect();
            all.push(refused(
                format!("{}: none of {group:?}", node.name),
                input,
                group.clone(),
            ));
        }
    }
    all
}

#[tokio::test]
async fn o4_whatever_a_node_does_not_take_is_refused_by_name_and_nothing_is_stored() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    let nodes = daemon.client.nodes().await.unwrap().nodes;
    let all: Vec<Refused> = nodes.iter().flat_map(refused).collect();
    assert!(
        all.len() > nodes.len(),
        "only {} requests for {} nodes",
        all.len(),
        nodes.len()
    );
    for some in all.chunks(500) {
        let tasks = some.iter().map(|refused| refused.request.clone()).collect();
        let results = daemon
            .client
            .submit_batch(&BatchRequest { tasks })
            .await
            .unwrap()
            .results;
        assert_eq!(results.len(), some.len());
        for (refused, result) in some.iter().zip(results) {
            let what = &refused.what;
            let problem = result.problem.unwrap_or_else(|| panic!("{what}: it was accepted"));
            assert_eq!(problem.status, 422, "{what}: {problem}");
            for name in &refused.named {
                let field = format!("input_data.{name}");
                assert!(
                    problem.errors.iter().any(|error| error.field == field),
                    "{what}: {problem:?}"
                );
            }
        }
    }
    assert_eq!(daemon.content().await, before);
}

#[tokio::test]
async fn the_catalog_is_one_whoever_asks() {
    let daemon = Daemon::start().await;
    let list = daemon.client.nodes().await.unwrap();
    let mut names: Vec<_> = list.nodes.iter().map(|node| node.name.to_string()).collect();
    assert_eq!(list.total_count, names.len());
    let supported = daemon.get("/v1/tasks/supported-tasks").await.json();
    let services = supported["supported_tasks"].as_object().unwrap().values();
    let mut supported: Vec<_> = services
        .flat_map(|names| names.as_array().unwrap())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    names.sort();
    supported.sort();
    assert_eq!(names, supported);

    let audio = daemon.client.node(&node_name("ffmpeg.extract_audio")).await.unwrap();
    assert!(list.nodes.contains(&audio));
    assert_eq!((audio.service.as_str(), audio.runner.as_str()), ("ffmpeg", "builtin"));
    assert!(audio.readiness.ready, "{:?}", audio.readiness);
    let said = String::from_utf8(daemon.command().arg("nodes").output().unwrap().stdout).unwrap();
    for name in &names {
        assert!(said.contains(name), "{name} is not in {said}");
    }
    let shown = daemon
        .command()
        .args(["nodes", "ffmpeg.extract_audio"])
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("video_path") && shown.contains("audio_path") && shown.contains("ready"),
        "{shown}"
    );

    let unknown = daemon.get("/v1/nodes/no.such").await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "unknown-node"));
    assert_eq!(daemon.get("/v1/nodes/nothing").await.fields(), ["task_name"]);
}

/// A folder with a node whose program is Python in a separate environment.
fn python_node(dir: &Path) -> String {
    fs::write(
        dir.join("told.toml"),
        "name = 'fixture.told'\nqueue = 'io'\nreuse_fields = ['prefix']\nrunner = { python = 'told.py' }\n",
    )
    .unwrap();
    fs::write(
        dir.join("told.py"),
        "import json, sys\njson.load(sys.stdin)\nprint(json.dumps({'type': 'output', 'output': {'prefix': sys.prefix}}))\n",
    )
    .unwrap();
    fs::write(dir.join("requirements.txt"), "# nothing beside Python\n").unwrap();
    format!("node_dirs = ['{}']", dir.display())
}

/// Runs a command as the daemon tells people to, with the data folder that a test has.
fn as_told(daemon: &Daemon, command: &str) -> String {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("onceoverd"), "{command}");
    let mut told = Command::new(program("onceoverd"));
    let output = told.args(words).env_remove("ONCEOVER_DATA").output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command}: {said}");
    assert!(daemon.data.join("nodes").is_dir(), "{command} worked on other folders");
    said
}

fn not_ready(answer: &HttpAnswer) -> Vec<(String, String)> {
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "node-not-ready"),
        "{answer:?}"
    );
    let missing = answer.json()["missing"].as_array().unwrap().clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    missing
        .iter()
        .map(|missing| (text(&missing["what"]), text(&missing["how"])))
        .collect()
}

#[tokio::test]
async fn a_node_that_is_not_installed_says_how_and_runs_once_that_was_done() {
    const NODE: &str = "fixture.told";
    let nodes = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::builder().config(&python_node(nodes.path())).start().await;
    let before = daemon.content().await;
    let submit = json!({"task_name": NODE, "task_id": TASK, "input_data": {}});
    let forced = json!({"task_name": NODE, "task_id": TASK, "input_data": {}, "reuse": "never"});

    let refused = not_ready(&daemon.post("/v1/tasks", submit.clone()).await);
    let [(what, how)] = refused.as_slice() else {
        panic!("{refused:?}")
    };
    assert!(what.contains("environment of fixture"), "{what}");
    let batch = daemon.post("/v1/tasks/batch", json!({"tasks": [submit]})).await.json();
    assert_eq!(batch["results"][0]["status"], 409, "{batch}");
    let node = daemon.client.node(&node_name(NODE)).await.unwrap();
    assert_eq!(node.readiness.missing[0].how, *how);
    assert_eq!(daemon.content().await, before);
    let check = daemon.command_on("127.0.0.1:0").arg("check").output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && said.contains(how), "{said}");
    let metrics = daemon.get("/metrics").await.text;
    assert!(
        metrics.contains("outcome=\"refused\",reason=\"not_ready\""),
        "{metrics}"
    );

    let said = as_told(&daemon, how);
    assert!(said.contains("fixture: ready"), "{said}");
    let stage = daemon.done(TASK, NODE, json!({})).await;
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    let environment = daemon.data.join("nodes/fixture/env-");
    let prefix = output["prefix"].as_str().unwrap();
    assert!(prefix.starts_with(environment.to_str().unwrap()), "{prefix}");

    // Gone again: what has been done stays reusable, what would have to run is refused, and the explanation agrees.
    daemon.stop().await;
    fs::remove_dir_all(daemon.data.join("nodes")).unwrap();
    daemon.launch().await;
    let before = daemon.content().await;
    not_ready(&daemon.post("/v1/tasks", forced).await);
    assert_eq!(daemon.content().await, before);
    let explain = async |mode| {
        daemon
            .client
            .explain(&task_id(TASK), &node_name(NODE), Some(mode))
            .await
            .unwrap()
    };
    let explained = explain(ReuseMode::Never).await;
    assert_eq!(
        (explained.decision, explained.reason.as_str()),
        (ReuseDecision::Refuse, "not_ready")
    );
    assert_eq!(explain(ReuseMode::Auto).await.decision, ReuseDecision::Hit);
    assert!(daemon.submit(TASK, NODE, json!({})).await.reuse_info.source.is_some());
}

#[tokio::test]
async fn r3_a_daemon_that_cannot_run_a_node_joins_a_run_of_one_that_can() {
    const KEY: &str = "ONCEOVER_TEST_KEY";
    let nodes = tempfile::tempdir().unwrap();
    fs::write(
        nodes.path().join("keyed.toml"),
        format!(
            "name = 'fixture.keyed'\nqueue = 'io'\nneeds = {{ environment = ['{KEY}'] }}\n\
             runner = {{ command = ['sh', '-c', '''read -r request; while ! [ -e {}/go ]; do sleep 0.02; done
             echo \"{{\\\"type\\\":\\\"output\\\",\\\"output\\\":{{\\\"length\\\":${{#{KEY}}}}}}}\"'''] }}\n",
            nodes.path().display()
        ),
    )
    .unwrap();
    let config = format!("node_dirs = ['{}']", nodes.path().display());
    let redis = RedisServer::start(&[]).await;
    let able = Daemon::builder()
        .config(&config)
        .redis(&redis.url(3))
        .env(KEY, "a secret")
        .start()
        .await;
    let unable = Daemon::builder()
        .config(&format!("{config}\n[slots]\nio = 0"))
        .redis(&redis.url(3))
        .start()
        .await;
    let submit = json!({"task_name": "fixture.keyed", "task_id": TASK, "input_data": {}});
    let missing = not_ready(&unable.post("/v1/tasks", submit.clone()).await);
    assert!(missing[0].0.contains(KEY), "{missing:?}");
    let started = able.submit(TASK, "fixture.keyed", json!({})).await;
    let joined = unable.post("/v1/tasks", submit.clone()).await.json();
    assert_eq!(
        joined["reuse_info"]["run_id"],
        json!(started.reuse_info.run_id),
        "{joined}"
    );
    fs::write(nodes.path().join("go"), "").unwrap();
    let stage = able.until(TASK, "fixture.keyed", StageState::Success).await;
    assert_eq!(stage.output.get(), "{\"length\":8}");
    assert_eq!(unable.post("/v1/tasks", submit).await.json()["status"], "completed");
    let stored = able.content().await;
    let holds = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"a secret");
    assert!(stored.iter().all(|(_, dump)| !holds(dump)) && !able.logged().contains("a secret"));
}

#[tokio::test]
async fn o4_a_parameter_left_to_stages_that_there_are_not_is_refused_by_name() {
    let nodes = tempfile::tempdir().unwrap();
    fs::write(
        nodes.path().join("after.toml"),
        "name = 'fixture.after'\nqueue = 'io'\n\
         runner = { command = ['sh', '-c', '''read -r request; echo \"{\\\"type\\\":\\\"output\\\",\\\"output\\\":{\\\"request\\\":$request}}\"'''] }\n\
         [[parameters]]\nname = 'value'\ntype = 'integer'\nrequired = true\nmeaning = 'a number'\n\
         fallbacks = [{ node = 'test.echo', field = 'value' }, { node = 'test.quick', field = 'value' }]\n",
    )
    .unwrap();
    let config = format!("node_dirs = ['{}']", nodes.path().display());
    let daemon = Daemon::builder().config(&config).start().await;
    let before = daemon.content().await;
    let submit = |input: Value| json!({"task_name": "fixture.after", "task_id": TASK, "input_data": input});
    let refused = daemon.post("/v1/tasks", submit(json!({}))).await;
    assert_eq!(
        (refused.status, refused.fields()),
        (422, vec!["input_data.value".to_owned()])
    );
    assert!(
        refused.text.contains("test.echo") && refused.text.contains("test.quick"),
        "{refused:?}"
    );
    assert_eq!(daemon.content().await, before);

    let output = daemon.done(TASK, "test.echo", json!({"value": 41})).await;
    assert!(output.output.get().contains("41"), "{}", output.output);
    let stage = daemon.done(TASK, "fixture.after", json!({})).await;
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["request"]["input"], json!({"value": 41}));

    // A given value needs no stage; and a hit none either.
    let given = daemon.post(
        "/v1/tasks",
        json!({"task_name": "fixture.after", "task_id": "t2", "input_data": {"value": 1}}),
    );
    assert_eq!(given.await.status, 200);
    daemon.until("t2", "fixture.after", StageState::Success).await;
    let hit = daemon
        .post(
            "/v1/tasks",
            json!({"task_name": "fixture.after", "task_id": "t2", "input_data": {}}),
        )
        .await;
    assert_eq!(hit.json()["status"], "completed", "{hit:?}");
    let forced = daemon
        .try_submit("t2", "fixture.after", json!({}), None, ReuseMode::Never)
        .await;
    assert!(
        matches!(&forced, Err(ClientError::Refused(problem)) if problem.status == 422),
        "{forced:?}"
    );
}

#[tokio::test]
async fn configured_defaults_hold_for_requests_that_do_not_say() {
    let daemon = Daemon::builder()
        .config("[defaults.'test.request']\nvalue = 7")
        .start()
        .await;
    let stage = daemon.done(TASK, "test.request", json!({})).await;
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["request"]["input"], json!({"value": 7}));
    let node = daemon.client.node(&node_name("test.request")).await.unwrap();
    assert_eq!(node.parameters[0].default, Some(json!(7)));

    let config = daemon.dir().join("wrong.toml");
    fs::write(
        &config,
        "[defaults.'ffmpeg.extract_keyframes']\nkeyframe_sample_count = 0",
    )
    .unwrap();
    let check = Command::new(program("onceoverd"))
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(
        !check.status.success() && said.contains("wrong.toml, line 2") && said.contains("at least 1"),
        "{said}"
    );
}
