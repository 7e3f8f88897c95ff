//! The files of a result in a pty and on the command line, against a real daemon and files that a run has made.

use std::{fs, path::Path};

use onceover_tests::{Daemon, onceover_at, screen::Dashboard};
use serde_json::{Value, json};
use termlens::{Color, Key, Screen};

const NODE: &str = "preview.makes";

/// Leaves subtitles, two pictures (red, blue) and one that is broken; the log lies beside them.
const MAKES: &str = r#"
[[nodes]]
name = "preview.makes"
queue = "io"
timeout_seconds = 30
reuse_fields = ["frames_dir"]
runner = { command = ["python3", "-S", "-c", '''
import json, os, struct, sys, zlib
request = json.load(sys.stdin)
folder = request["output_dir"]
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def picture(name, colour):
    rows = (b"\x00" + bytes(colour) * 64) * 32
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 32, 8, 2, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    open(folder + "/frames/" + name, "wb").write(whole)
os.mkdir(folder + "/frames")
picture("0001.png", (255, 0, 0))
picture("0002.png", (0, 0, 255))
open(folder + "/frames/0003.png", "w").write("no picture")
open(folder + "/film.srt", "w").write(
    "1\n00:00:01,000 --> 00:00:03,000\nA good line.\n\n2\n00:00:02,500 --> 00:00:03,500\nOverlaps\n")
open(folder + "/scratch.txt", "w").write("named by no output")
print(json.dumps({"type": "output", "output":
    {"frames_dir": folder + "/frames", "subtitle_path": folder + "/film.srt", "frames": 3}}))
'''] }
"#;

async fn start() -> Daemon {
    let daemon = Daemon::builder().nodes(MAKES).start().await;
    daemon.done("film", NODE, json!({})).await;
    daemon
}

/// Counts the cells that are half blocks of a colour.
fn count_blocks(screen: &Screen, colour: Color) -> usize {
    let cells = (0..screen.rows()).flat_map(|row| (0..screen.cols()).filter_map(move |col| screen.cell(row, col)));
    cells
        .filter(|cell| cell.contents() == "\u{2580}" && cell.style().fg == colour)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_results_subtitles_and_pictures_are_seen_and_its_broken_file_says_why() {
    let daemon = start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows(NODE);
    dashboard.press('i');
    let screen = dashboard.until(|screen| screen.contains("2 cues") && screen.contains("A good line."));
    assert!(
        screen.contains("4 files") && !screen.contains("scratch"),
        "{}",
        screen.text()
    );
    assert!(screen.contains("overlaps 0.50 s"), "{}", screen.text());
    dashboard.press('j');
    // Red and blue of the cube of 216 colours.
    dashboard.until(|screen| screen.contains("64x32 png") && count_blocks(screen, Color::Indexed(196)) > 500);
    dashboard.send(Key::Right);
    let screen = dashboard.until(|screen| count_blocks(screen, Color::Indexed(21)) > 500);
    assert_eq!(
        count_blocks(&screen, Color::Indexed(196)),
        0,
        "nothing is left of the one before"
    );
    dashboard.press('j');
    dashboard.shows("cannot be read");
    dashboard.press('+');
    dashboard.until(|screen| !screen.contains("film.srt"));
    dashboard.send(Key::Esc);
    dashboard.shows("film.srt");
    dashboard.send(Key::Esc);
    dashboard.shows("TASK / STAGE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_sent_by_the_terminals_protocol_and_again_for_another_size() {
    let daemon = start().await;
    for protocol in ["sixel", "kitty"] {
        let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--images", protocol]);
        let sent = |screen: &Screen| match protocol {
            "sixel" => screen.graphics().sixel(),
            _ => screen.graphics().kitty(),
        };
        dashboard.shows(NODE);
        dashboard.press('i');
        dashboard.shows("2 cues");
        dashboard.press('j');
        let first = sent(&dashboard.until(|screen| screen.contains("64x32 png") && sent(screen) > 0));
        dashboard.resize(100, 30);
        dashboard.until(|screen| sent(screen) > first);
        dashboard.press('?');
        dashboard.shows("give the file the whole page");
        dashboard.press('q');
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_is_sent_as_sixels_has_its_pixels_on_the_screen_of_xterm() {
    use onceover_tests::x_terminal::XTerminal;
    // The colours that xterm has for what is good and for warnings, and those of the pictures.
    const GREEN: u32 = 0x00_cd00;
    const YELLOW: u32 = 0xcd_cd00;
    const RED: u32 = 0xff_0000;
    const BLUE: u32 = 0x00_00ff;
    const PICTURE: usize = 64 * 32;
    let daemon = start().await;
    let terminal = XTerminal::open(&daemon, &["--images", "sixel"]);
    // The first line alone has fewer: the task is there, and done.
    terminal.until_pixels("the task", GREEN, |count| count > 300).await;
    terminal.press("i");
    // One cue overlaps the one before.
    terminal.until_pixels("the subtitles", YELLOW, |count| count > 0).await;
    terminal.press("j");
    terminal
        .until_pixels("the red picture", RED, |count| count >= PICTURE)
        .await;
    terminal.press("Right");
    terminal
        .until_pixels("the blue picture", BLUE, |count| count >= PICTURE)
        .await;
    let left = "nothing of the red picture";
    terminal.until_pixels(left, RED, |count| count == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_without_colours_gets_a_picture_in_words() {
    let daemon = start().await;
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "xterm-16color")] {
        let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &[], &[(name, value)]);
        dashboard.shows(NODE);
        dashboard.press('i');
        dashboard.shows("2 cues");
        dashboard.press('j');
        dashboard.until(|screen| screen.contains("shows no pictures") && screen.contains("64 x 32 pixels"));
    }
}

#[tokio::test]
async fn files_are_listed_and_downloaded_on_the_command_line() {
    let daemon = start().await;
    let run = async |args: &[&str]| {
        let output = onceover_at(&daemon).arg("files").args(args).output().await;
        output.expect("onceover runs")
    };
    let listed = run(&["film", NODE]).await;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    for part in ["frames/0001.png", "film.srt", "subtitles", "share/workflows/film/runs/"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("run.log") && !text.contains("scratch"), "{text}");

    let json: Value = serde_json::from_slice(&run(&["film", "--json"]).await.stdout).expect("JSON");
    assert_eq!((&json[0]["node"], &json[0]["complete"]), (&json!(NODE), &json!(true)));
    let url = json[0]["files"][1]["download_url"].as_str().expect("a link");
    assert_eq!(reqwest::get(url).await.expect("an answer").status(), 200);

    let target = daemon.dir().join("first.png");
    let path = target.display().to_string();
    let got = run(&["get", "film", NODE, "0001.png", "-o", &path]).await;
    assert!(got.status.success(), "{got:?}");
    assert!(fs::read(&target).expect("it is there").starts_with(b"\x89PNG"));
    let piped = run(&["get", "film", NODE, "film.srt", "-o", "-"]).await;
    assert!(piped.stdout.starts_with(b"1\n00:00:01,000"), "{piped:?}");

    let other = daemon.dir().join("second.png");
    let path = other.display().to_string();
    let refused = run(&["get", "film", NODE, "0002.png", "-o", &path, "--max-bytes", "10"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(2) && said.contains("--max-bytes 10"),
        "{said}"
    );
    assert!(!Path::new(&path).exists(), "nothing of it is kept");
    let unknown = run(&["get", "film", NODE, "none.png"]).await;
    assert_eq!(unknown.status.code(), Some(2));
}
