//! Terminals and sessions: what goes away, stops, has no size or few characters, and process 1 of a container.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    process::{Command, Stdio},
};

use onceover_tests::{Daemon, eventually, program, screen::Dashboard};
use onceover_types::StageState;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use termlens::Key;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

/// Opens the program in a terminal of no size whose end sends it no SIGHUP, waits for a text, takes the terminal away, and
/// prints in how many milliseconds the program had ended.
const TAKE_AWAY: &str = r#"
import os, pty, select, sys, time
program, url, text = sys.argv[1], sys.argv[2], sys.argv[3].encode()
shell, master = pty.fork()
if shell == 0:
    os.environ["TERM"] = "xterm-256color"
    os.environ["LC_ALL"] = "C.UTF-8"
    os.execvp("sh", ["sh", "-c", "trap '' HUP; \"$0\" --daemon \"$1\"; :", program, url])
drawn, end = b"", time.time() + 20
while text not in drawn:
    left = end - time.time()
    if left <= 0 or not select.select([master], [], [], left)[0]:
        sys.exit("never drawn: %r" % drawn)
    drawn += os.read(master, 65536)
dashboard = int(open("/proc/%d/task/%d/children" % (shell, shell)).read())
def state():
    try:
        return open("/proc/%d/stat" % dashboard).read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "gone"
os.close(master)
begin = time.time()
while state() not in ("gone", "Z") and time.time() < begin + 5:
    time.sleep(0.005)
print(int((time.time() - begin) * 1000))
os.kill(shell, 9)
"#;

#[tokio::test]
async fn a_daemon_whose_terminal_goes_stops_as_on_sigterm() {
    let mut daemon = Daemon::start().await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.signal(Signal::HUP);
    assert!(daemon.ended().await.success());
    assert!(daemon.logged().contains("SIGHUP"), "{}", daemon.logged());
    assert!(daemon.children().is_empty());
    daemon.release("go");
    daemon.launch().await;
    assert_eq!(daemon.until("t1", WAIT, StageState::Success).await.attempt, 2);
}

#[tokio::test]
async fn under_nohup_a_hang_up_changes_nothing() {
    let ignoring = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"];
    let mut daemon = Daemon::builder().under(&ignoring).start().await;
    daemon.signal(Signal::HUP);
    daemon.done("t1", ECHO, json!({})).await;
    assert!(daemon.stop().await.success());
    assert!(!daemon.logged().contains("SIGHUP"));
}

/// How a process becomes the first of a new namespace, here; None where that is forbidden.
fn first_process() -> Option<Vec<&'static str>> {
    let plain = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let as_root = [
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
    ];
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        let tried = command.args(&words[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    [plain.to_vec(), as_root.to_vec()]
        .into_iter()
        .find(|words| works(words))
}

/// Processes with this parent, and their states.
fn children_of(parent: i32) -> Vec<(i32, char)> {
    let stats = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    });
    stats.collect()
}

#[tokio::test]
async fn as_process_1_of_a_container_it_waits_for_orphans_and_ends_as_it_is_asked() {
    let Some(first) = first_process() else {
        return;
    };
    let orphans = "read -r request; for n in 1 2 3; do (setsid sh -c 'sleep 0.05' &); (sh -c 'sleep 0.05 &' &); done; \
                   echo '{\"type\": \"output\", \"output\": {\"value\": 1}}'";
    let node = format!(
        "[[nodes]]\nname = 'test.orphans'\nqueue = 'io'\nrunner = {{ command = ['sh', '-c', '''{orphans}'''] }}\n"
    );
    let mut daemon = Daemon::builder().nodes(&node).under(&first).start().await;
    daemon.done("t1", "test.orphans", json!({})).await;
    let process_1 = children_of(daemon.pid())[0].0;
    eventually("no process that nobody waits for", || async move {
        children_of(process_1)
            .iter()
            .all(|(_, state)| *state != 'Z')
            .then_some(())
    })
    .await;
    kill_process(Pid::from_raw(process_1).unwrap(), Signal::TERM).unwrap();
    assert!(daemon.ended().await.success());
    assert!(daemon.logged().contains("SIGTERM"), "{}", daemon.logged());
}

/// Milliseconds until the dashboard has ended after its terminal.
async fn outlives_its_terminal(daemon: &Daemon) -> u64 {
    let output = tokio::process::Command::new("python3")
        .args(["-S", "-c", TAKE_AWAY])
        .arg(program("onceover"))
        .args([&daemon.url(), "film"])
        .output()
        .await
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test]
async fn a_dashboard_ends_with_its_terminal_also_without_a_signal_and_draws_where_that_has_no_size() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let took = outlives_its_terminal(&daemon).await;
    assert!(took < 500, "{took} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_z_stops_all_of_the_job_and_fg_goes_on_with_it() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let mut shell = Dashboard::in_shell(&daemon, 100, 30);
    let onceover = program("onceover");
    for (command, number) in [
        (
            format!("sh -c '{} --daemon {}; true'", onceover.display(), daemon.url()),
            40,
        ),
        (format!("{} --daemon {}", onceover.display(), daemon.url()), 50),
    ] {
        shell.type_text(&command);
        shell.send(Key::Enter);
        shell.until(|screen| screen.alternate_screen() && screen.contains("film"));
        shell.send(Key::Ctrl('z'));
        shell.until(|screen| !screen.alternate_screen() && screen.contains("Stopped"));
        shell.type_text(&format!("echo back-$(({number}+2))"));
        shell.send(Key::Enter);
        shell.shows(&format!("back-{}", number + 2));
        shell.type_text("fg");
        shell.send(Key::Enter);
        shell.until(|screen| screen.alternate_screen() && screen.contains("film"));
        shell.press('q');
        shell.until(|screen| !screen.alternate_screen());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_z_does_not_stop_for_ever_what_no_shell_started() {
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 100, 30);
    dashboard.shows("● live");
    dashboard.send(Key::Ctrl('z'));
    dashboard.shows("there is no shell to go back to");
    dashboard.press('q');
    assert!(dashboard.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dumb_terminal_gets_the_tree_and_no_codes() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    for term in ["dumb", ""] {
        let mut dashboard = Dashboard::open_in(&daemon, 80, 24, &[], &[("TERM", term)]);
        let screen = dashboard.shows("└─ test.echo");
        assert!(
            screen.contains("cannot show the dashboard") && !screen.alternate_screen(),
            "{}",
            screen.text()
        );
        assert!(dashboard.ended().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_utf8_locale_and_on_the_console_only_ascii_is_drawn() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"value": "자막"})).await;
    for environment in [
        [("LANG", "C"), ("TERM", "xterm")],
        [("LANG", "C.UTF-8"), ("TERM", "linux")],
    ] {
        let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &[], &environment);
        let screen = dashboard.until(|screen| screen.contains("* live") && screen.contains("+ done"));
        assert!(screen.text().is_ascii(), "{}", screen.text());
        // The output, where there is text that is not ours, and a dialog.
        for key in ['j', ']', ']', '?'] {
            dashboard.press(key);
        }
        let screen = dashboard.shows("row down");
        assert!(screen.text().is_ascii(), "{}", screen.text());
    }
    for arguments in [
        &["tree"][..],
        &["nodes"],
        &["nodes", "ffmpeg.extract_audio"],
        &["snapshot"],
        &["keys"],
        &["tasks"],
        &["queues"],
        &["workers"],
        &["check"],
        &["tree", "nix"],
    ] {
        let output = Command::new(program("onceover"))
            .args(["--daemon", &daemon.url()])
            .args(arguments)
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(
            text.is_ascii() && !text.is_empty(),
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
    // JSON is UTF-8 wherever it goes.
    let mut command = Command::new(program("onceover"));
    command.args(["--daemon", &daemon.url(), "tree", "film", "--json"]);
    let output = command.env("LC_ALL", "C").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("자막"));
}

#[test]
fn completions_need_no_configuration() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program("onceoverd"));
        command.env("ONCEOVER_CONFIG", "/nowhere/onceover.toml").args(arguments);
        command.output().unwrap()
    };
    let output = run(&["completions", "bash"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!run(&["nodes"]).status.success(), "other commands read it");
}

#[tokio::test]
async fn what_prints_ends_quietly_where_nobody_reads_and_tells_of_a_full_disk() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let (onceoverd, onceover) = (program("onceoverd"), program("onceover"));
    let (data, url) = (daemon.data.display().to_string(), daemon.url());
    let of_daemon = [
        &["nodes"][..],
        &["nodes", "ffmpeg.extract_audio"],
        &["completions", "bash"],
        &["--help"],
        &["check", "--help"],
        &["--version"],
    ];
    let of_client = [
        &["tree"][..],
        &["tree", "--json"],
        &["nodes"],
        &["videos"],
        &["snapshot"],
        &["tasks"],
        &["show", "film"],
        &["log", "film"],
        &["queues"],
        &["workers"],
        &["check"],
        &["completions", "bash"],
        &["keys"],
        &["keys", "--json"],
        &["--help"],
        &["submit", "test.echo", "--task", "film"],
    ];
    let of_daemon = of_daemon.map(|arguments| (&onceoverd, ["--data", data.as_str()], arguments));
    let of_client = of_client.map(|arguments| (&onceover, ["--daemon", url.as_str()], arguments));
    for (program, before, arguments) in of_daemon.into_iter().chain(of_client) {
        let run = |stdout: Stdio| {
            let mut command = Command::new(program);
            command.args(before).args(arguments).stdin(Stdio::null()).stdout(stdout);
            let output = command.stderr(Stdio::piped()).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()), (Some(0), String::new()), "{arguments:?} | true");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(full.into());
        assert!(
            said.contains("cannot write to stdout: No space left") && said.lines().count() == 1,
            "{arguments:?} >/dev/full: {said}"
        );
        assert_eq!(code, Some(1), "{arguments:?} >/dev/full");
    }
}

#[test]
fn nothing_prints_but_through_what_never_panics() {
    // The lint that forbids it is on in each crate of the programs.
    let roots = [
        "common/types/src/lib.rs",
        "common/catalog/src/lib.rs",
        "common/wire/src/lib.rs",
        "daemon/limits/src/lib.rs",
        "daemon/run/src/lib.rs",
        "daemon/process/src/lib.rs",
        "daemon/store/src/lib.rs",
        "daemon/nodes/src/lib.rs",
        "daemon/server/src/lib.rs",
        "daemon/server/src/main.rs",
        "tui/src/lib.rs",
        "tui/src/main.rs",
    ];
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let without: BTreeSet<_> = roots
        .into_iter()
        .filter(|root| {
            let text = fs::read_to_string(repository.join(root)).unwrap();
            !text.contains("#![deny(clippy::print_stdout, clippy::print_stderr)]")
        })
        .collect();
    assert_eq!(without, BTreeSet::new());
}
