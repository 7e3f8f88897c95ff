//! The dashboard in tmux, which is another emulator than the one of the other tests: every size, and what colours there are.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use onceover_tests::{Daemon, eventually, program};
use serde_json::json;

const ECHO: &str = "test.echo";

/// A server with one session, until dropped.
struct Tmux {
    socket: PathBuf,
    home: PathBuf,
}

impl Tmux {
    /// Opens the dashboard in it.
    fn open(daemon: &Daemon, (columns, rows): (u16, u16), environment: &[&str]) -> Self {
        let name = format!("tmux-{columns}x{rows}{}", environment.concat());
        let tmux = Self {
            socket: daemon.dir().join(name),
            home: daemon.dir().to_owned(),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut args = vec!["new-session", "-d", "-x", &columns, "-y", &rows];
        for variable in environment {
            args.extend(["-e", *variable]);
        }
        let (onceover, url) = (program("onceover").display().to_string(), daemon.url());
        args.extend([onceover.as_str(), "--daemon", &url]);
        let output = tmux.run(&args);
        assert!(output.status.success(), "{output:?}");
        tmux
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(&self.socket)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.home)
            .env("ONCEOVER_LOG_DIR", self.home.join("dashboard-log"))
            .output()
            .expect("tmux runs; `make test-deps` installs it")
    }

    /// Waits for texts on the screen. Returns it with its styles as escape sequences.
    async fn until_shows(&self, texts: &[&str]) -> String {
        eventually(&format!("{texts:?} on the screen"), || async {
            let plain = self.run(&["capture-pane", "-p"]).stdout;
            let plain = String::from_utf8_lossy(&plain).into_owned();
            if !texts.iter().all(|text| plain.contains(text)) {
                return None;
            }
            let styled = self.run(&["capture-pane", "-p", "-e"]).stdout;
            Some(String::from_utf8_lossy(&styled).into_owned())
        })
        .await
    }

    fn press(&self, key: &str) {
        let output = self.run(&["send-keys", key]);
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui16_every_size_is_drawn_in_tmux_and_keys_work_there() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"value": "강의"})).await;
    for size in [(40, 12), (60, 16), (80, 24), (120, 36), (200, 60)] {
        let tmux = Tmux::open(&daemon, size, &[]);
        tmux.until_shows(&["● live", "▾ film", "✔ done", "q quit"]).await;
        tmux.press("?");
        tmux.until_shows(&["Help", "go one row up"]).await;
        tmux.press("Escape");
        tmux.until_shows(&["▾ film", "q quit"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui24_tmux_gets_the_colours_and_characters_that_are_asked_for() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let has_colour = |screen: &str| screen.contains("\u{1b}[38;") || screen.contains("\u{1b}[32m");
    let tmux = Tmux::open(&daemon, (80, 24), &[]);
    assert!(has_colour(&tmux.until_shows(&["● live", "✔ done"]).await));
    let tmux = Tmux::open(&daemon, (80, 24), &["NO_COLOR=1"]);
    let screen = tmux.until_shows(&["● live", "✔ done"]).await;
    assert!(
        !has_colour(&screen) && screen.contains("7m"),
        "the cursor is reversed: {screen:?}"
    );
    let tmux = Tmux::open(&daemon, (80, 24), &["LANG=C"]);
    let screen = tmux.until_shows(&["* live", "+ done"]).await;
    assert!(screen.is_ascii(), "{screen}");
}
