//! What is shipped for deployment: the example configuration holds every key there is, each documented and read by the
//! daemon, and is right as it stands and with every setting in use; the unit is one that systemd takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use onceover_tests::{RedisServer, S3Server, program};

/// Tables by name (empty: the top level) with their keys.
type Keys = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn deploy(file: &str) -> String {
    fs::read_to_string(root().join("assets/deploy").join(file)).unwrap()
}

/// The line with its setting in use, when it is one: `#key = value`, `#[table]`. Text has a blank after its `#`.
fn setting(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    line.starts_with(|first: char| first.is_ascii_alphabetic() || first == '[' || first == '"')
        .then_some(line)
}

/// Every setting of the example in use.
fn in_use(example: &str) -> String {
    let lines: Vec<_> = example.lines().map(|line| setting(line).unwrap_or(line)).collect();
    lines.join("\n")
}

/// `slots` stands for each table of a map: `llm.providers.local` is `llm.providers.<name>`.
fn keys_of(example: &str) -> Keys {
    let mut keys = Keys::new();
    let mut table = String::new();
    for line in example.lines().filter_map(setting) {
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).to_owned();
            if let Some((parent, _)) = table.split_once(".\"").or(table.rsplit_once('.')) {
                table = format!("{parent}.<name>");
            }
            let top = table.split('.').next().unwrap().to_owned();
            keys.entry(String::new()).or_default().insert(top);
        } else {
            let (key, _) = line.split_once(" = ").unwrap_or_else(|| panic!("no setting: {line}"));
            keys.entry(table.clone()).or_default().insert(key.to_owned());
        }
    }
    keys
}

/// What the daemon says to a configuration.
fn said_to(config: &str) -> String {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("onceover.toml");
    fs::write(&file, config).unwrap();
    let mut command = bare("check");
    let output = command.arg("--config").arg(file).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// `onceoverd COMMAND` with nothing in its environment that configures it.
fn bare(command: &str) -> Command {
    let mut bare = Command::new(program("onceoverd"));
    bare.env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    bare.arg(command);
    bare
}

/// The keys that a table of the configuration takes, as the daemon's own error lists them; None for what is no such table.
fn taken_by(table: &str) -> Option<BTreeSet<String>> {
    let header = if table.is_empty() {
        String::new()
    } else {
        format!("[{}]\n", table.replace("<name>", "some"))
    };
    let said = said_to(&format!("{header}zzz = 1\n"));
    let (_, expected) = said.split_once("unknown field `zzz`, expected")?;
    let expected = expected.lines().next().unwrap_or_default();
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Every key there is, asked of the daemon table by table. What the example shows as a plain value is not asked.
fn every_key(example: &Keys) -> Keys {
    let mut keys = Keys::new();
    let mut tables = vec![String::new()];
    while let Some(table) = tables.pop() {
        let Some(taken) = taken_by(&table) else { continue };
        for key in &taken {
            let inner = named(&table, key);
            let is_header = example.contains_key(&inner) || example.contains_key(&format!("{inner}.<name>"));
            let is_value = !is_header && example.get(&table).is_some_and(|keys| keys.contains(key));
            // Of maps, the tables in them; `nodes` has a separate page.
            if !is_value && inner != "nodes" {
                tables.push(format!("{inner}.<name>"));
                tables.push(inner);
            }
        }
        keys.insert(table, taken);
    }
    keys
}

fn named(table: &str, key: &str) -> String {
    match table {
        "" => key.to_owned(),
        table => format!("{table}.{key}"),
    }
}

#[test]
fn deploy_the_example_has_every_key() {
    let example = keys_of(&deploy("onceover.toml"));
    let mut missing = Vec::new();
    for (table, keys) in every_key(&example) {
        for key in keys {
            let name = named(&table, &key);
            let is_table = example.contains_key(&name) || example.contains_key(&format!("{name}.<name>"));
            if !is_table && !example.get(&table).is_some_and(|keys| keys.contains(&key)) {
                missing.push(name);
            }
        }
    }
    assert!(
        missing.is_empty(),
        "assets/deploy/onceover.toml lacks {missing:?}: add each as a line \"#key = value\" below its [table], with a line \
         \"# text\" above that explains it"
    );
}

#[test]
fn deploy_every_key_of_the_example_is_documented_and_read() {
    let documented = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let mut sources = Vec::new();
    read_sources(&root().join("daemon"), &mut sources);
    let maps = ["slots", "defaults.<name>", "nodes"];
    let mut wrong = Vec::new();
    for (table, keys) in keys_of(&deploy("onceover.toml")) {
        if maps.contains(&table.as_str()) {
            continue;
        }
        for key in keys {
            let name = named(&table, &key);
            let in_table = format!("`{table}`");
            let is_told = documented.contains(&format!("`{name}`"))
                || documented.contains(&format!("`{name}."))
                || documented.contains(&format!("[{name}"))
                || documented
                    .lines()
                    .any(|line| line.contains(&in_table) && line.contains(&format!("`{key}`")));
            if !is_told {
                wrong.push(format!(
                    "{name} is not in docs/configuration.md: add a row `{name}` to its table"
                ));
            }
            let read = format!(".{key}");
            let is_read = sources.iter().any(|text: &String| {
                text.match_indices(&read).any(|(at, _)| {
                    let next = text[at + read.len()..].chars().next();
                    !next.is_some_and(|next| next.is_alphanumeric() || next == '_')
                })
            });
            if !is_read {
                wrong.push(format!("nothing in daemon/ reads {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn read_sources(folder: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            sources.push(fs::read_to_string(path).unwrap());
        }
    }
}

// Two threads: the store answers while the command is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deploy_the_example_is_right_as_it_stands_and_with_every_setting_in_use() {
    let data = tempfile::tempdir().unwrap();
    let check = |file: &Path| {
        let mut command = bare("check");
        command
            .env("ONCEOVER_LISTEN", "127.0.0.1:0")
            .env("ONCEOVER_DATA", data.path());
        let output = command.arg("--config").arg(file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let example = root().join("assets/deploy/onceover.toml");
    check(&example);

    // What it names has to be there: the same places in a folder of the test.
    let temp = tempfile::tempdir().unwrap();
    let place = |path: &str| temp.path().join(path.trim_start_matches('/')).display().to_string();
    let mut text = in_use(&fs::read_to_string(&example).unwrap());
    for path in ["/etc/onceover", "/srv/videos", "/var/lib/onceover"] {
        fs::create_dir_all(place(path)).unwrap();
        text = text.replace(path, &place(path));
    }
    fs::create_dir_all(place("/etc/onceover/nodes")).unwrap();
    fs::write(
        place("/etc/onceover/tokens"),
        format!("admin {}\n", "0123456789abcdef".repeat(4)),
    )
    .unwrap();
    let secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    fs::write(place("/etc/onceover/callback-secrets"), format!("{secret}\n")).unwrap();
    let redis = RedisServer::start(&["--appendonly", "yes"]).await;
    text = text.replace("redis://127.0.0.1:6379/3", &redis.url(3));
    text = text.replace("redis://10.0.0.9:6379/0", &redis.url(4));
    text = text.replace("redis://10.0.0.9:6379/1", &redis.url(5));
    let s3 = S3Server::start().await;
    let keys = s3.keys().map(|(_, key)| key).join("\n");
    fs::write(place("/etc/onceover/storage-keys"), keys).unwrap();
    text = text.replace("http://minio:9000", &s3.url());
    let everything = temp.path().join("onceover.toml");
    fs::write(&everything, &text).unwrap();
    check(&everything);
}

#[test]
fn deploy_the_systemd_unit_is_one_that_systemd_takes() {
    let daemon = program("onceoverd").display().to_string();
    check_unit(
        "onceoverd.service",
        &deploy("onceoverd.service").replace("/usr/local/bin/onceoverd", &daemon),
    );
}

#[test]
fn deploy_the_systemd_unit_of_a_worker_is_one_that_systemd_takes() {
    let unit = fs::read_to_string(root().join("assets/celery/onceover-worker.service")).unwrap();
    // Its programs are on another machine.
    let unit = unit.replace("/opt/onceover-worker/bin/celery", "/bin/true");
    check_unit("onceover-worker.service", &unit.replace("/opt/onceover-worker", "/"));
}

fn check_unit(name: &str, text: &str) {
    let has_systemd = Command::new("systemd-analyze").arg("--version").output();
    if !has_systemd.is_ok_and(|output| output.status.success()) {
        println!("not checked with systemd-analyze, which is not on this machine");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let unit = temp.path().join(name);
    fs::write(&unit, text).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&unit)
        .output()
        .unwrap();
    assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    // 0 is closed, 10 open; what is left are devices, the network and code made at run time, which nodes need.
    let exposed = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=25"])
        .arg(&unit)
        .output()
        .unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}
