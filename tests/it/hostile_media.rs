//! No submitted string or file makes ffmpeg take an option, use a protocol other than `file`, read another file or reach a
//! shell (26). Real submits, real ffmpeg, a trap for connections and a secret for reads.

use std::{fs, path::Path};

use onceover_tests::{Daemon, hooks::Trap, media};
use onceover_types::StageState;
use serde_json::json;

const AUDIO: &str = "ffmpeg.extract_audio";
const FRAMES: &str = "ffmpeg.extract_keyframes";
const SECRET: &str = "TOP-SECRET-WORDS";

fn holds_secret(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds_secret(&path);
        }
        fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(SECRET))
    })
}

fn hls(target: &str) -> String {
    format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{target}\n#EXT-X-ENDLIST\n")
}

/// An AVI whose subtitles are a playlist (HackerOne 242831), behind `lead` bytes of a real one.
fn avi_with_playlist(lead: &[u8], target: &str) -> Vec<u8> {
    let mut playlist = b"GAB2\0\x02\0\x04\0\0\0a\0b\0\x04\0".to_vec();
    let text = hls(target);
    playlist.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    playlist.extend(text.as_bytes());
    let mut avi = lead.to_vec();
    avi.extend(b"02tx");
    avi.extend(u32::try_from(playlist.len()).unwrap().to_le_bytes());
    avi.extend(playlist);
    avi
}

/// Files that refer to others: name and content. `{dir}`, `{out}` and `{port}` stand for their folder, the one outside and
/// the trap.
const HOSTILE: &[(&str, &str)] = &[
    ("relative.mp4", "hls:other.wav"),
    ("absolute.avi", "hls:{dir}/other.wav"),
    ("outside.wav", "hls:{out}/secret.txt"),
    ("url.ts", "hls:file:{out}/secret.wav"),
    ("http.mkv", "hls:http://127.0.0.1:{port}/a.ts"),
    ("https.m3u8", "hls:https://127.0.0.1:{port}/a.ts"),
    ("concat-in-hls.m3u8", "hls:concat:{out}/secret.txt|{out}/secret.wav"),
    (
        "concat-http.m3u8",
        "hls:concat:http://127.0.0.1:{port}/a?|file:{out}/secret.txt",
    ),
    ("subfile.m3u8", "hls:subfile,,start,0,end,64,,:{out}/secret.txt"),
    ("crypto.m3u8", "hls:crypto:{out}/secret.txt"),
    ("crypto-http.m3u8", "hls:crypto+http://127.0.0.1:{port}/a"),
    ("data.m3u8", "hls:data:audio/wav;base64,UklGRg=="),
    ("tcp.m3u8", "hls:tcp://127.0.0.1:{port}"),
    (
        "key.m3u8",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI=\"http://127.0.0.1:{port}/key\"\n#EXTINF:1,\nother.wav\n",
    ),
    (
        "map.m3u8",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-MAP:URI=\"{out}/secret.wav\"\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
    ),
    (
        "master.m3u8",
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:{port}/a.m3u8\n",
    ),
    (
        "media.m3u8",
        "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"http://127.0.0.1:{port}/a\"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nother.wav\n",
    ),
    ("list.ffconcat", "ffconcat version 1.0\nfile other.wav\n"),
    ("list.mp4", "ffconcat version 1.0\nfile '{out}/secret.wav'\n"),
    (
        "list.wav",
        "ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/a.wav'\n",
    ),
    ("list.txt", "file '{dir}/other.wav'\nfile '{out}/secret.wav'\n"),
    (
        "session.sdp",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    ),
    (
        "manifest.mpd",
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT9S\"><Period><AdaptationSet><Representation id=\"a\" mimeType=\"audio/mp4\"><BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    ),
    (
        "composition.xml",
        "<?xml version=\"1.0\"?><CompositionPlaylist xmlns=\"http://www.smpte-ra.org/schemas/2067-3/2016\"><Id>urn:uuid:x</Id></CompositionPlaylist>",
    ),
    ("redirect.asf", "[Reference]\nRef1=http://127.0.0.1:{port}/a.asf\n"),
    (
        "redirect.asx",
        "<ASX><Entry><Ref href=\"http://127.0.0.1:{port}/a\"/></Entry></ASX>",
    ),
    ("list.ram", "rtsp://127.0.0.1:{port}/a.rm\n"),
    ("list.pls", "[playlist]\nFile1=http://127.0.0.1:{port}/a\n"),
    (
        "picture.svg",
        "<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file://{out}/secret.txt\"/></svg>",
    ),
    ("script.avs", "AviSource(\"{out}/secret.wav\")\n"),
    ("script.vpy", "import os\nos.system('touch {dir}/pwned')\n"),
    (
        "words.srt",
        "1\n00:00:00,000 --> 00:00:09,000\n<img src=\"file://{out}/secret.txt\">\n",
    ),
    ("graph.txt", "sine=frequency=440"),
    ("meta.txt", ";FFMETADATA1\ntitle={out}/secret.txt\n"),
];

/// Texts in the place of a path, refused at submit.
const STRINGS: &[&str] = &[
    "-i",
    "-version",
    "-f lavfi -i sine",
    "pipe:0",
    "-",
    "fd:",
    "concat:{dir}/other.wav|{out}/secret.wav",
    "concatf:{out}/list",
    "data:audio/wav;base64,UklGRg==",
    "subfile,,start,0,end,9,,:{out}/secret.wav",
    "crypto:{out}/secret.wav",
    "file:{dir}/other.wav",
    "http://127.0.0.1:{port}/a.mp4",
    "hls+http://127.0.0.1:{port}/a.m3u8",
    "httpproxy://127.0.0.1:{port}/",
    "tcp://127.0.0.1:{port}",
    "udp://127.0.0.1:{port}",
    "rtmp://127.0.0.1:{port}/a",
    "rtsp://127.0.0.1:{port}/a",
    "rtp://127.0.0.1:{port}",
    "ftp://127.0.0.1:{port}/a",
    "sftp://127.0.0.1:{port}/a",
    "srt://127.0.0.1:{port}",
    "tls://127.0.0.1:{port}",
    "unix:{out}/socket",
    "async:http://127.0.0.1:{port}/",
    "cache:http://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
    "ipfs://127.0.0.1/a",
    "tee:{dir}/x",
    "md5:{dir}/x",
    "{out}/secret.wav",
    "{dir}/../outside/secret.wav",
];

/// Names of good clips that mean something to ffmpeg, to a shell or to a terminal.
const NAMES: &[&str] = &[
    "-i.mp4",
    "-vf movie=x.mp4",
    "--.mp4",
    "it's \"quoted\".mp4",
    "100%d %03d %s.mp4",
    "http:a.mp4",
    "concat:a|b.mp4",
    "subfile,,start,0,end,9,,:a.mp4",
    "data:a,b.mp4",
    "crypto:a.mp4",
    "a\nb.mp4",
    "$(touch pwned).mp4",
    "`touch pwned`.mp4",
    "a;touch pwned;.mp4",
    "a|b&c>d.mp4",
    "*?[a].mp4",
    "back\\slash.mp4",
    "\u{1b}[31mred.mp4",
    "ünïcödé 中文 \u{202e}.mp4",
    "#{a}, [b]=c:d.mp4",
    " .mp4",
];

#[tokio::test]
async fn req26_no_string_or_file_adds_an_option_uses_a_protocol_or_reaches_a_shell() {
    assert!(HOSTILE.len() + STRINGS.len() + NAMES.len() >= 40);
    let temp = tempfile::tempdir().unwrap();
    let (dir, out) = (temp.path().join("media"), temp.path().join("outside"));
    for folder in [&dir, &out] {
        fs::create_dir(folder).unwrap();
    }
    media::sound(&out.join("secret.wav"), 1);
    fs::write(out.join("secret.txt"), SECRET).unwrap();
    media::sound(&dir.join("other.wav"), 1);
    let trap = Trap::set().await;
    let daemon = Daemon::builder()
        .media_root(&dir)
        .config("[slots]\ncpu = 4")
        .start()
        .await;
    let fill = |text: &str| {
        text.replace("{dir}", &dir.display().to_string())
            .replace("{out}", &out.display().to_string())
            .replace("{port}", &trap.port().to_string())
    };

    for text in STRINGS.iter().map(|text| fill(text)) {
        let body = json!({"task_name": AUDIO, "task_id": "strings", "input_data": {"video_path": text}});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.video_path".to_owned()]),
            "{text:?}"
        );
    }

    // A plain name is a file below the task's folder, whatever else ffmpeg takes it for.
    let body = json!({"task_name": AUDIO, "task_id": "format", "input_data": {"video_path": "lavfi"}});
    let answer = daemon.post("/v1/tasks", body).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["input_data.video_path".to_owned()])
    );

    let mut files: Vec<(String, Vec<u8>)> = HOSTILE
        .iter()
        .map(|(name, content)| {
            let content = match content.strip_prefix("hls:") {
                Some(target) => hls(&fill(target)),
                None => fill(content),
            };
            ((*name).to_owned(), content.into_bytes())
        })
        .collect();
    for (name, target) in [
        ("gab2-file.avi", "{out}/secret.txt"),
        ("gab2-http.avi", "http://127.0.0.1:{port}/a"),
    ] {
        files.push((
            name.into(),
            avi_with_playlist(b"RIFF\0\0\0\0AVI LIST\x04\0\0\0movi", &fill(target)),
        ));
    }
    for (index, (name, content)) in files.iter().enumerate() {
        let path = dir.join(name);
        fs::write(&path, content).unwrap();
        daemon
            .submit(&format!("file-{index}"), AUDIO, json!({"video_path": path}))
            .await;
        daemon
            .submit(&format!("file-{index}"), FRAMES, json!({"video_path": path}))
            .await;
    }
    for (index, (name, _)) in files.iter().enumerate() {
        for node in [AUDIO, FRAMES] {
            let stage = daemon.until_ended(&format!("file-{index}"), node).await;
            assert_eq!(stage.status, StageState::Failed, "{name}, {node}: {}", stage.output);
        }
    }

    let clip = temp.path().join("clip.mp4");
    media::clip(&clip, 1);
    for (index, name) in NAMES.iter().enumerate() {
        let path = dir.join(name);
        fs::copy(&clip, &path).unwrap();
        daemon
            .submit(&format!("name-{index}"), AUDIO, json!({"video_path": path}))
            .await;
        daemon
            .submit(
                &format!("name-{index}"),
                FRAMES,
                json!({"video_path": path, "keyframe_sample_count": 2}),
            )
            .await;
    }
    for (index, name) in NAMES.iter().enumerate() {
        for node in [AUDIO, FRAMES] {
            let stage = daemon.until_ended(&format!("name-{index}"), node).await;
            assert_eq!(stage.status, StageState::Success, "{name:?}, {node}: {:?}", stage.error);
        }
    }

    assert_eq!(trap.caught(), 0);
    assert!(!holds_secret(&daemon.data.join("share")), "what is outside was read");
    let pwned = |folder: &Path| folder.join("pwned").exists();
    assert!(!pwned(&dir) && !pwned(Path::new(".")) && !pwned(daemon.dir()));
}
