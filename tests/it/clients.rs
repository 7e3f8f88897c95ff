//! `docs/clients.md` and the README: their programs and commands are run as they stand there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use onceover_tests::{Daemon, media, program};
use onceover_types::StageState;
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/clients.md");
const README: &str = include_str!("../../README.md");
const TOKEN: &str = "a-token-of-the-test";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const NODE: &str = "ffmpeg.extract_audio";

/// The files of the page: a name in backquotes that a line begins with, then its text in a fence.
pub(crate) fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut name = None;
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if let Some(word) = line
            .split('`')
            .nth(1)
            .filter(|_| line.starts_with('`') && !line.starts_with("```"))
        {
            name = Some(word.to_owned());
        } else if line.starts_with("```") {
            let text: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            let name = name.take().expect("each example of the page has a name");
            files.insert(name, text.join("\n") + "\n");
        }
    }
    files
}

/// A daemon with a token and signed callbacks, a clip, and the page's files in a separate folder.
struct Bed {
    daemon: Daemon,
    folder: PathBuf,
    clip: PathBuf,
    broken: PathBuf,
}

impl Bed {
    async fn new() -> Self {
        let daemon = Daemon::builder()
            .config("[callbacks]\nallow = ['127.0.0.1']\n")
            .env("ONCEOVER_TOKENS", &format!("admin:{TOKEN}"))
            .env("ONCEOVER_CALLBACK_SECRETS", SECRET)
            .token(TOKEN)
            .start()
            .await;
        let folder = daemon.dir().join("examples");
        fs::create_dir(&folder).unwrap();
        for (name, text) in files() {
            fs::write(folder.join(name), text).unwrap();
        }
        let (clip, broken) = (daemon.dir().join("clip.mp4"), daemon.dir().join("broken.mp4"));
        media::clip(&clip, 2);
        fs::write(&broken, "no video").unwrap();
        Self {
            daemon,
            folder,
            clip,
            broken,
        }
    }

    fn start(&self, interpreter: &Path, file: &str, arguments: &[&str]) -> Child {
        assert!(self.folder.join(file).is_file(), "{file} is not on the page");
        let mut command = Command::new(interpreter);
        command
            .arg(file)
            .args(arguments)
            .current_dir(&self.folder)
            .env("ONCEOVER_DAEMON", self.daemon.url())
            .env("ONCEOVER_TOKEN", TOKEN)
            .env("CALLBACK_SECRET", SECRET)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    async fn run(&self, interpreter: &Path, file: &str, arguments: &[&str]) -> (bool, String, String) {
        let child = self.start(interpreter, file, arguments);
        let output: Output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// What both languages do: poll, a callback, events; each with success and failure.
    async fn language(&self, name: &str, interpreter: &Path, [poll, callback, events]: [&str; 3]) {
        let (clip, broken) = (self.clip.to_str().unwrap(), self.broken.to_str().unwrap());
        let task = |what: &str| format!("{name}-{what}");
        let polled = task("poll");
        let (fine, out, error) = self.run(interpreter, poll, &[&polled, clip]).await;
        assert!(fine && out.starts_with(&polled), "{poll}: {out}{error}");
        let audio = self.folder.join("audio.wav");
        let made = self.daemon.data.join("share/workflows").join(out.trim());
        assert_eq!(
            fs::read(&audio).unwrap(),
            fs::read(made).unwrap(),
            "{poll} downloads it"
        );
        fs::remove_file(audio).unwrap();
        let (fine, out, error) = self.run(interpreter, poll, &[&task("broken"), broken]).await;
        assert!(
            !fine && error.contains(&format!("{NODE} FAILED: ")),
            "{poll}: {out}{error}"
        );
        let (fine, out, error) = self.run(interpreter, poll, &["not a task id", clip]).await;
        assert!(
            !fine && !error.contains("rror:") && error.lines().count() == 1,
            "{poll}: {out}{error}"
        );

        let (fine, out, error) = self.run(interpreter, callback, &[&task("callback"), clip]).await;
        assert!(fine && out.starts_with("completed /"), "{callback}: {out}{error}");
        let (fine, out, error) = self.run(interpreter, callback, &[&task("no-video"), broken]).await;
        assert!(fine && out.starts_with("failed "), "{callback}: {out}{error}");

        let (fine, out, error) = self.run(interpreter, events, &[&polled, "0"]).await;
        let kinds: Vec<_> = out
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|line| line.1)
            .collect();
        assert!(
            fine && kinds.starts_with(&["queued", "started"]) && kinds.ends_with(&["succeeded"]),
            "{out}{error}"
        );
    }
}

/// A Python that has requests: the machine's, else one in a folder below `target`, made once.
fn python() -> PathBuf {
    let has_requests = |python: &Path| {
        let mut command = Command::new(python);
        command.args(["-c", "import requests"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if has_requests(Path::new("python3")) {
        return "python3".into();
    }
    let home = program("onceoverd").parent().unwrap().join("clients-of-the-test");
    let python = home.join("bin/python");
    if !has_requests(&python) {
        let succeeds = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&home));
        succeeds(Command::new(&python).args(["-m", "pip", "install", "--quiet", "requests==2.32.5"]));
    }
    python
}

#[tokio::test]
async fn clients_the_pages_example_for_the_shell_does_what_it_says() {
    let bed = Bed::new().await;
    let sh = Path::new("sh");
    let (fine, out, error) = bed.run(sh, "tour.sh", &["shell", bed.clip.to_str().unwrap()]).await;
    assert!(fine, "{out}{error}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["reason"]), (2, &json!("absent")), "{out}");
    assert_eq!(lines[1]["field"], "input_data.video_path");
    let stage = bed.daemon.until("shell", NODE, StageState::Success).await;
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    let made = fs::read(output["audio_path"].as_str().unwrap()).unwrap();
    assert_eq!(fs::read(bed.folder.join("audio.wav")).unwrap(), made);
    let (fine, out, error) = bed.run(sh, "tour.sh", &["broken", bed.broken.to_str().unwrap()]).await;
    assert!(!fine, "{out}{error}");
}

#[tokio::test]
async fn clients_the_pages_example_of_a_key_is_one_task_however_often_it_is_sent() {
    let bed = Bed::new().await;
    let (clip, other) = (bed.clip.to_str().unwrap(), bed.broken.to_str().unwrap());
    let mut said = Vec::new();
    for arguments in [["k1", clip], ["k1", clip], ["k2", clip], ["k1", other]] {
        let (_, out, error) = bed.run(Path::new("sh"), "submit-once.sh", &arguments).await;
        assert_eq!(out.lines().count(), 1, "{out}{error}");
        said.push(out);
    }
    assert_eq!(said[0], said[1]);
    assert!(said[0].starts_with("task-") && said[2].starts_with("task-"), "{said:?}");
    assert_ne!(said[0], said[2]);
    assert!(said[3].contains("Idempotency-Key"), "{said:?}");
}

#[tokio::test]
async fn clients_the_pages_examples_in_python_do_what_they_say() {
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let bed = Bed::new().await;
    let files = ["submit_and_poll.py", "wait_for_callback.py", "follow_events.py"];
    bed.language("python", &python, files).await;
}

#[tokio::test]
async fn clients_the_pages_examples_in_javascript_do_what_they_say() {
    let node = Path::new("node");
    let version = Command::new(node).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let major = version
        .ok()
        .and_then(|text| text.trim_start_matches('v').split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|major| major < 20) {
        println!("the examples in JavaScript were not run: no node of version 20 or newer here");
        return;
    }
    let bed = Bed::new().await;
    let files = ["submit-and-poll.mjs", "wait-for-callback.mjs", "follow-events.mjs"];
    bed.language("javascript", node, files).await;
}

/// The README's commands for a shell that need no model, in its order: indented lines, with those that go on.
fn commands() -> Vec<String> {
    let mut commands = Vec::<String>::new();
    let mut is_open = false;
    for line in README.lines().filter_map(|line| line.strip_prefix("    ")) {
        match commands.last_mut().filter(|_| is_open) {
            Some(command) => command.push_str(&format!("\n{line}")),
            None => commands.push(line.to_owned()),
        }
        is_open = commands
            .last()
            .is_some_and(|command| command.matches('\'').count() % 2 == 1);
    }
    let has_terminal = |command: &&String| !command.starts_with("onceover  ");
    let is_client = |command: &&String| command.starts_with("onceover ") || command.starts_with("curl ");
    commands
        .iter()
        .filter(is_client)
        .filter(has_terminal)
        .cloned()
        .collect()
}

#[tokio::test]
async fn clients_each_command_of_the_readme_works_on_a_fresh_machine() {
    let daemon = Daemon::start().await;
    let videos = daemon.dir().join("videos");
    fs::create_dir(&videos).unwrap();
    media::sample(&videos);
    for name in ["lecture-07.mp4", "lecture-08.mp4"] {
        fs::copy(videos.join("clip.mp4"), videos.join(name)).unwrap();
    }
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:#?}");
    let programs = program("onceover").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut ran = Vec::new();
    for command in commands {
        let text = command
            .replace("/path/to/videos", &videos.display().to_string())
            .replace("localhost:8788", &format!("127.0.0.1:{}", daemon.port()))
            .replace("curl ", "curl -sS --fail-with-body ");
        let mut shell = Command::new("sh");
        shell
            .args(["-ec", &text])
            .env("PATH", &path)
            .env("ONCEOVER_DAEMON", daemon.url())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap())
            .await
            .unwrap();
        assert!(output.status.success(), "{command}\n{output:?}");
        ran.push(command);
    }
    assert!(
        ran.iter().any(|command| command.contains("--pipeline sample --wait")),
        "{ran:#?}"
    );
}
