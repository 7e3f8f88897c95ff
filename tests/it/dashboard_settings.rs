//! The dashboard as its user has set it up: configuration file, colours, mouse, notifications, access, and what is
//! restored at the next start. In a pty, against a real daemon.

use std::{path::Path, process::Output};

use onceover_tests::{
    Daemon, eventually, onceover, onceover_at, program,
    screen::{Dashboard, percent, row_with},
};
use onceover_wire::ReuseMode;
use serde_json::{Value, json};
use termlens::{Color, Key, MouseMode, Screen};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

/// Writes a configuration of the dashboard. Returns its path.
fn configure(daemon: &Daemon, text: &str) -> String {
    let path = daemon.dir().join("dashboard.toml");
    std::fs::write(&path, text).expect("the configuration is written");
    path.to_str().expect("a plain path").to_owned()
}

async fn run(daemon: &Daemon, args: &[&str]) -> Output {
    onceover_at(daemon).args(args).output().await.expect("onceover runs")
}

fn last_row(screen: &Screen) -> String {
    screen.text().lines().last().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui17_the_keys_of_the_configuration_are_those_of_footer_help_and_program() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let config = configure(&daemon, "[keys]\nrerun = ['f9', 'ctrl-e']\ndelete = 'none'\n");
    let mut dashboard = Dashboard::open_with(&daemon, 200, 60, &["--config", &config]);
    dashboard.until(|screen| row_with(screen, ECHO).is_some() && last_row(screen).contains("f9 rerun"));
    assert!(
        !last_row(&dashboard.screen()).contains(" delete"),
        "an action without a key is not offered"
    );
    // The keys that they had do nothing any more.
    dashboard.press('r');
    dashboard.press('d');
    dashboard.press('?');
    dashboard.shows("┌ Help");
    // Actions that change something follow those that move and show.
    for _ in 0..60 {
        dashboard.send(Key::Down);
    }
    let help = dashboard.until(|screen| screen.contains("f9 ctrl-e"));
    assert!(!help.contains("Rerun film") && !help.contains("Delete 1 task?"));
    dashboard.send(Key::Esc);
    dashboard.until(|screen| !screen.contains("f9 ctrl-e"));
    dashboard.send(Key::Ctrl('e'));
    dashboard.shows("Rerun film");

    let printed = run(&daemon, &["keys", "--json", "--config", &config]).await;
    let rows: Vec<Value> = serde_json::from_slice(&printed.stdout).expect("JSON");
    let rerun = rows.iter().find(|row| row["action"] == "rerun").expect("the action");
    assert_eq!(rerun["keys"], json!(["f9", "ctrl-e"]));
    assert_eq!(rerun["configured"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui17_what_is_wrong_in_the_configuration_is_reported_with_file_and_line_at_start() {
    let daemon = Daemon::start().await;
    for (text, report) in [
        ("[keys]\ncancel = 'd'\n", ":2: keys: 'd' would be both"),
        (
            "\n[keys]\ncancelx = 'x'\n",
            ":3: keys: there is no action 'cancelx'; did you mean cancel?",
        ),
        ("mouze = true\n", ":1: unknown field `mouze`"),
        ("[theme]\naccent = 'purplish'\n", ":2: 'purplish' is not a colour"),
    ] {
        let config = configure(&daemon, text);
        let ended = run(&daemon, &["tree", "--config", &config]).await;
        let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(stderr.contains(&format!("{config}{report}")), "{stderr}");
        assert_eq!(ended.status.code(), Some(2));
        let mut dashboard = Dashboard::open_with(&daemon, 160, 20, &["--config", &config]);
        let status = dashboard.ended();
        assert_eq!(status.code(), Some(2));
        assert!(!dashboard.screen().alternate_screen());
    }
    // With JSON it is a problem document.
    let config = configure(&daemon, "mouze = true\n");
    let ended = run(&daemon, &["tree", "--json", "--config", &config]).await;
    let problem: Value = serde_json::from_slice(&ended.stderr).expect("JSON");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("mouze"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui23_endpoint_and_token_come_from_the_configuration_and_a_wrong_token_is_read_again() {
    const ADMIN: &str = "admin-token-of-the-settings";
    let daemon = Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("admin:{ADMIN}"))
        .token(ADMIN)
        .start()
        .await;
    daemon.done("film", ECHO, json!({})).await;
    let token = daemon.dir().join("token");
    std::fs::write(&token, "a-wrong-token\n").expect("the file is written");
    let config = configure(&daemon, &format!("url = '{}'\ntoken_file = 'token'\n", daemon.url()));
    // The address is that of the configuration: none is given.
    let mut dashboard = Dashboard::open_bare(&daemon, 100, 30, &["--config", &config]);
    let screen = dashboard.shows("refuses access");
    assert!(
        screen.contains("token_file") && !screen.contains("a-wrong-token"),
        "{}",
        screen.text()
    );
    std::fs::write(&token, format!("{ADMIN}\n")).expect("the file is written");
    dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui23_read_only_offers_no_change_and_says_why_on_its_key() {
    let daemon = Daemon::start().await;
    let echo = daemon.done("film", ECHO, json!({})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 200, 60, &["--read-only"]);
    let screen = dashboard.until(|screen| row_with(screen, ECHO).is_some() && last_row(screen).contains("? help"));
    for offered in [" rerun", " delete", " cancel", " submit"] {
        assert!(!last_row(&screen).contains(offered), "{}", last_row(&screen));
    }
    for key in ['r', 'd', 'x', 's'] {
        dashboard.press(key);
        dashboard.shows("read-only: start without --read-only");
    }
    dashboard.press('?');
    let help = dashboard.until(|screen| screen.contains("┌ Help"));
    assert!(!help.contains("delete the whole task"), "{}", help.text());

    for command in [
        &["submit", ECHO, "--task", "film"][..],
        &["register", "/nothing.mp4"],
        &["run", "film"],
        &["resubmit", "film"],
        &["cancel", "film", "--yes"],
        &["delete", "film", "--yes"],
        &["redeliver", "--failed"],
    ] {
        let refused = run(&daemon, &[&["--read-only"], command].concat()).await;
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--read-only"), "{stderr}");
    }
    let now = daemon.stage("film", ECHO).await.expect("the stage");
    assert_eq!(now.run_id, echo.run_id, "nothing has run");
    assert!(run(&daemon, &["--read-only", "tree"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui23_a_token_for_reading_makes_it_read_only() {
    const READ: &str = "read-token-of-the-settings";
    const ADMIN: &str = "admin-token-of-the-settings";
    let daemon = Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("read:{READ} admin:{ADMIN}"))
        .token(ADMIN)
        .start()
        .await;
    daemon.done("film", ECHO, json!({})).await;
    let mut dashboard = Dashboard::open_in(&daemon, 160, 36, &[], &[("ONCEOVER_TOKEN", READ)]);
    dashboard.until(|screen| row_with(screen, ECHO).is_some());
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.send(Key::Enter);
    dashboard.shows("refused");
    dashboard.press('d');
    dashboard.shows("read-only: the token is one for reading");
    assert!(!dashboard.screen().contains("Delete 1 task?"));
}

/// The colour in which the sign of what is done is drawn.
fn colour_of_done(screen: &Screen) -> Option<Color> {
    let (row, column) = screen.find("✔ done")?;
    screen.cell(row, column).map(|cell| cell.style().fg)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui24_colours_are_as_many_as_the_terminal_has_and_the_cursor_needs_none() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let config = configure(&daemon, "[theme]\nname = 'dark'\n");
    type Is = fn(Color) -> bool;
    let is_right: [(&[(&str, &str)], Is); 4] = [
        (&[("COLORTERM", "truecolor")], |colour| matches!(colour, Color::Rgb(..))),
        (&[], |colour| matches!(colour, Color::Indexed(16..))),
        (&[("TERM", "xterm")], |colour| matches!(colour, Color::Indexed(0..16))),
        (&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")], |colour| {
            colour == Color::Default
        }),
    ];
    for (environment, is_right) in is_right {
        let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &["--config", &config], environment);
        let screen = dashboard.until(|screen| screen.contains("● live") && colour_of_done(screen).is_some());
        let colour = colour_of_done(&screen).expect("a stage is done");
        assert!(is_right(colour), "{environment:?}: {colour:?}");
        let (row, column) = screen.find("▾ film").expect("the row of the task");
        let style = screen.cell(row, column).expect("a cell").style();
        assert!(style.reverse, "{environment:?}: the cursor is seen");
        dashboard.press('q');
        dashboard.ended();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui24_the_background_is_asked_of_a_terminal_that_answers_and_no_key_is_lost() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let answers = [("VTE_VERSION", "7600"), ("COLORTERM", "truecolor")];
    let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &[], &answers);
    dashboard.until(Screen::alternate_screen);
    // The terminal is asked at this moment: the key comes before its answer, or right after it.
    dashboard.press('?');
    dashboard.shows("┌ Help");
    dashboard.send(Key::Esc);
    // Without an answer the terminal's own colours would be used.
    dashboard.until(|screen| colour_of_done(screen).is_some_and(|colour| matches!(colour, Color::Rgb(..))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui24_the_mouse_selects_opens_drags_and_does_what_the_footer_offers() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    daemon.done("other", ECHO, json!({})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "other"]);
    dashboard.until(|screen| screen.contains("▾ film") && screen.contains("▾ other"));
    assert_eq!(dashboard.screen().mouse_mode(), MouseMode::ButtonMotion);
    dashboard.click_on("▾ film");
    dashboard.until(|screen| row_with(screen, "▾ film").is_some_and(|row| row.contains("▸ ▾ film")));

    let border = |screen: &Screen| {
        let row = row_with(screen, "┐┌")?;
        row.chars().position(|c| c == '┐').map(|at| at as u16)
    };
    let before = border(&dashboard.screen()).expect("the border");
    dashboard.drag((before, 10), (before - 20, 10));
    dashboard.until(|screen| border(screen).is_some_and(|now| now.abs_diff(before - 20) <= 4));

    dashboard.click_on("? help");
    dashboard.shows("┌ Help");
    dashboard.click_on("┌ Help");
    dashboard.until(|screen| !screen.contains("┌ Help"));

    // A question takes its buttons, and nothing is done beside them.
    dashboard.press('d');
    dashboard.shows("Delete 1 task?");
    dashboard.click_on("▾ other");
    dashboard.click_on("[ Cancel ]");
    dashboard.until(|screen| !screen.contains("Delete 1 task?"));
    assert!(daemon.stage("film", ECHO).await.is_some());

    dashboard.press('m');
    dashboard.shows("mouse off");
    assert_eq!(dashboard.screen().mouse_mode(), MouseMode::None);
    dashboard.press('m');
    dashboard.shows("mouse on");
    dashboard.press('q');
    dashboard.ended();
    assert_eq!(
        dashboard.screen().mouse_mode(),
        MouseMode::None,
        "the terminal is as before"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui24_the_mouse_is_left_to_the_terminal_by_flag_and_configuration() {
    let daemon = Daemon::start().await;
    let config = configure(&daemon, "mouse = false\n");
    for args in [&["--no-mouse"][..], &["--config", &config]] {
        let mut dashboard = Dashboard::open_with(&daemon, 80, 24, args);
        let screen = dashboard.shows("● live");
        assert_eq!(screen.mouse_mode(), MouseMode::None, "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui25_the_end_of_a_watched_task_rings_once_and_that_of_others_not_at_all() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains('●')));
    daemon.done("other", ECHO, json!({})).await;
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("✔ done")));
    assert_eq!(dashboard.screen().bells(), 0);
    dashboard.press('W');
    dashboard.until(|screen| screen.contains("1 row watched") && screen.contains("⚑"));
    daemon.release("go");
    dashboard.until(|screen| screen.bells() == 1);
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("✔ done")));
    daemon.done("third", ECHO, json!({})).await;
    dashboard.until(|screen| row_with(screen, "third").is_some_and(|row| row.contains("✔ done")));
    // The next end of the watched task rings once more. It comes later than a bell of the one before it would, which
    // may be held back for a second.
    let input = json!({"until": "again"});
    let again = daemon.try_submit("film", WAIT, input, None, ReuseMode::Never).await;
    again.expect("it runs again");
    dashboard.until(|screen| percent(screen, WAIT).is_some_and(|percent| percent > 30));
    assert_eq!(dashboard.screen().bells(), 1);
    daemon.release("again");
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("✔ done")));
    dashboard.until(|screen| screen.bells() >= 2);
    assert_eq!(dashboard.screen().bells(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui25_a_command_announces_what_fails_and_its_own_failure_is_shown() {
    let daemon = Daemon::start().await;
    let heard = daemon.dir().join("heard");
    let script = format!("printf '%s\\n' \"$2\" >>{}", heard.display());
    let notify =
        format!("[notify]\nby = 'command'\nfailures = true\ncommand = ['/bin/sh', '-c', '''{script}''', 'sh']\n");
    let config = configure(&daemon, &notify);
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--config", &config]);
    dashboard.shows("● live");
    daemon.submit("film", "test.fail", json!({})).await;
    daemon.until_ended("film", "test.fail").await;
    eventually("the announcement", || async {
        let text = std::fs::read_to_string(&heard).ok()?;
        text.contains("film › test.fail failed: it failed").then_some(())
    })
    .await;
    dashboard.press('q');
    dashboard.ended();

    let config = configure(
        &daemon,
        "[notify]\nby = 'command'\nfailures = true\ncommand = ['/no/such/program']\n",
    );
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--config", &config]);
    dashboard.shows("● live");
    daemon.submit("other", "test.fail", json!({})).await;
    dashboard.shows("/no/such/program could not be started");
}

/// The file in which the view is kept.
fn kept_view(daemon: &Daemon) -> std::path::PathBuf {
    daemon.dir().join(".local/state/onceover/view.json")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui25_filter_expansion_cursor_and_page_are_restored_at_the_next_start() {
    let daemon = Daemon::start().await;
    for task in ["film", "fish", "other"] {
        daemon.done(task, ECHO, json!({})).await;
    }
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| ["film", "fish", "other"].iter().all(|task| screen.contains(task)));
    dashboard.press('/');
    dashboard.type_text("id:fi*");
    dashboard.shows("2 tasks");
    dashboard.send(Key::Enter);
    dashboard.until(|screen| screen.contains("filter: id:fi*") && !screen.contains("▾ other"));
    // To the other task, whose stages are hidden.
    dashboard.press('G');
    dashboard.press('h');
    dashboard.press('h');
    let hidden = dashboard.until(|screen| screen.contains("▸ ▸ fi"));
    let hidden = if row_with(&hidden, "▸ ▸ film").is_some() {
        "film"
    } else {
        "fish"
    };
    dashboard.press('q');
    dashboard.ended();
    assert!(kept_view(&daemon).exists());

    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    let at_cursor = format!("▸ ▸ {hidden}");
    dashboard.until(|screen| screen.contains("filter: id:fi*") && screen.contains(&at_cursor));
    dashboard.press('n');
    dashboard.shows("ready");
    dashboard.press('q');
    dashboard.ended();
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("ready");
    // What is asked for comes before what was kept.
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "other"]);
    dashboard.until(|screen| screen.contains("▸ ▾ other"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui25_a_damaged_view_is_reported_and_set_aside() {
    let daemon = Daemon::start().await;
    let path = kept_view(&daemon);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    std::fs::write(&path, "{\"page\": 7").expect("the file is written");
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("the kept view cannot be read");
    assert!(!path.exists() && path.with_extension("json.damaged").exists());
    dashboard.press('q');
    dashboard.ended();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui16_every_kind_of_terminal_shows_the_dashboard_and_gets_it_back() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    for environment in [
        &[("TERM", "linux")][..],
        &[("TERM", "screen")],
        &[("TERM", "vt100")],
        &[("LANG", "C")],
        &[("NO_COLOR", "1")],
    ] {
        let is_ascii = environment
            .iter()
            .any(|(name, value)| *name == "LANG" || *value == "linux");
        let mut dashboard = Dashboard::open_in(&daemon, 60, 16, &[], environment);
        let screen = dashboard.until(|screen| screen.contains("live") && screen.contains("? help"));
        assert!(
            !is_ascii || screen.text().is_ascii(),
            "{environment:?}: {}",
            screen.text()
        );
        for key in ['n', '?', '?'] {
            dashboard.press(key);
        }
        dashboard.resize(10, 3);
        dashboard.resize(60, 16);
        dashboard.press('q');
        dashboard.ended();
        let screen = dashboard.screen();
        assert!(!screen.alternate_screen() && screen.cursor_visible(), "{environment:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_completes_tasks_and_pipelines_from_the_daemon() {
    let daemon = Daemon::start().await;
    daemon.done("film-1", ECHO, json!({})).await;
    daemon.done("other", ECHO, json!({})).await;
    let complete = async |words: &[&str]| {
        let mut command = onceover();
        command.env("COMPLETE", "fish").env("ONCEOVER_DAEMON", daemon.url());
        let output = command.args(["--", "onceover"]).args(words).output();
        String::from_utf8(output.await.expect("onceover runs").stdout).expect("text")
    };
    let tasks = complete(&["tree", "fi"]).await;
    assert!(tasks.contains("film-1") && !tasks.contains("other"), "{tasks}");
    let pipelines = complete(&["run", "video", "--pipeline", "samp"]).await;
    assert!(pipelines.contains("sample"), "{pipelines}");
}

/// Names of the files in a folder.
fn list_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn manual_pages_and_completion_are_installed_and_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/install-manual.sh");
    let bin = program("onceover").parent().expect("a folder").to_owned();
    let install = |args: &[&str]| {
        let mut command = std::process::Command::new(&script);
        command.args(args).env("BIN", &bin).env("SHARE", folder.path());
        let ended = command.output().expect("the script runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    install(&[]);
    let pages = list_files(&folder.path().join("man/man1"));
    for page in ["onceover.1", "onceover-tree.1", "onceoverd.1", "onceoverd-check.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
    for script in [
        "bash-completion/completions/onceover",
        "zsh/site-functions/_onceoverd",
        "fish/vendor_completions.d/onceover.fish",
    ] {
        let text = std::fs::read_to_string(folder.path().join(script)).expect("the script is there");
        assert!(text.contains("onceover"), "{script}");
    }
    install(&["--remove"]);
    assert_eq!(list_files(&folder.path().join("man/man1")), [""; 0]);
}
