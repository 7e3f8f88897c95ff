//! What people do all day, from a failed stage to its picture, by keys that the screen names.

use onceover_tests::{Daemon, screen::Dashboard};
use onceover_types::StageState;
use serde_json::json;
use termlens::{Input, Key};

const NODE: &str = "story.frame";

/// Leaves a picture, where it is asked for two frames or more.
const NODES: &str = r#"
[[nodes]]
name = "story.frame"
queue = "io"
timeout_seconds = 30
reuse_fields = ["frames_dir"]
runner = { command = ["python3", "-S", "-c", '''
import json, os, struct, sys, zlib
request = json.load(sys.stdin)
if request["input"]["count"] < 2:
    print(json.dumps({"type": "error", "message": "one frame is too few: count must be 2 or more"}))
    sys.exit(1)
folder = request["output_dir"] + "/frames"
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
rows = (b"\x00" + bytes((255, 0, 0)) * 64) * 32
head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 32, 8, 2, 0, 0, 0))
os.mkdir(folder)
with open(folder + "/0001.png", "wb") as picture:
    picture.write(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
print(json.dumps({"type": "output", "output": {"frames_dir": folder}}))
'''] }
[[nodes.parameters]]
name = "count"
type = "integer"
min = 1
meaning = "how many frames are looked at"
"#;

/// A user who counts the keys that are pressed; what is typed into a field is not counted.
struct User {
    dashboard: Dashboard,
    presses: usize,
}

impl User {
    fn press(&mut self, key: impl Input + std::fmt::Debug) {
        self.presses += 1;
        self.dashboard.send(key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_stage_is_understood_changed_run_again_and_its_picture_seen_in_twelve_presses() {
    let daemon = Daemon::builder().nodes(NODES).start().await;
    for n in 0..3 {
        daemon.done(&format!("done-{n}"), NODE, json!({"count": 2})).await;
    }
    daemon.submit("film", NODE, json!({"count": 1})).await;
    daemon.until("film", NODE, StageState::Failed).await;
    let dashboard = Dashboard::open(&daemon, 120, 36);
    let mut user = User { dashboard, presses: 0 };
    // What has failed stands first, with the cursor on it.
    user.dashboard.shows("┌ film ─");
    // Why: the stage's detail says it.
    user.press(Key::Char('j'));
    user.dashboard.shows("one frame is too few");
    // Another value.
    user.press(Key::Char('e'));
    user.dashboard.shows("with the values of the stored request");
    user.press(Key::Ctrl('u'));
    user.dashboard.type_text("2");
    user.dashboard.shows("~ count  1 -> 2");
    user.press(Key::Ctrl('s'));
    user.dashboard.shows("with changes?");
    user.press(Key::Enter);
    // It is watched to its end.
    user.dashboard
        .until(|screen| screen.contains("┌ film › story.frame ─") && screen.contains("✔ done   attempt 1"));
    // Its picture, and where that lies.
    user.press(Key::Char('i'));
    user.dashboard.shows("64x32 png");
    user.press(Key::Char('y'));
    let screen = user.dashboard.until(|screen| screen.clipboard().is_some());
    let copied = screen.clipboard().and_then(|copied| copied.text()).unwrap_or_default();
    assert!(copied.ends_with("frames/0001.png"), "{copied}");
    assert!(user.presses <= 12, "{} presses", user.presses);
}
