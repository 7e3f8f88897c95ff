//! Fuzz targets of the configuration, of addresses that requests name, of what programs print and other workers store.

use std::time::Duration;

use onceover_fuzz::fuzz;
use onceover_types::{NodeName, Timestamp, read_toml};

use crate::{
    config::Config,
    executor::program_lines,
    services::foreign::ForeignStage,
    ssrf_guard::{Purpose, SsrfGuard},
};
use onceover_store::ForeignJson;

#[test]
fn fuzz_configurations() {
    let words = &[
        "[access]",
        "[slots]",
        "gpu = ",
        "'1h'",
        "-1",
        "0",
        "\u{feff}",
        "\r\n",
        "= ''",
        "[[nodes]]",
        "['']",
    ];
    fuzz("configurations", words, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(config) = read_toml::<Config>(text) {
            let _ = config.check();
        }
    });
}

#[test]
fn fuzz_callback_urls() {
    let guard = SsrfGuard::new(Purpose::Callback, &[]).expect("a guard without exceptions");
    let words = &[
        "http://",
        "https:",
        "@",
        "127.0.0.1",
        "0x7f.1",
        "[::1]",
        "%00",
        " ",
        "=",
        "\\",
        "#",
        "?",
        ":80",
        "\u{3002}",
        "..",
    ];
    fuzz("callback_urls", words, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(url) = guard.check_url(&text) else { return };
        assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none());
        let host = url.host_str().expect("it names a host");
        let is_of_a_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        assert!(host.chars().all(is_of_a_host), "{host}");
    });
}

#[test]
fn fuzz_output_lines() {
    let words = &[
        "\"type\":",
        "\"progress\"",
        "\"output\"",
        "\"percent\":",
        "NaN",
        "1e400",
        "\\ud800",
        "{",
        "}",
        "null",
    ];
    fuzz("output_lines", words, |bytes| {
        for line in String::from_utf8_lossy(bytes).lines() {
            let _ = program_lines::parse(line);
        }
    });
}

/// S5: whatever lies under the key of a stage is judged, or is nothing.
#[test]
fn fuzz_foreign_stages() {
    let node = NodeName::parse("ffmpeg.extract_audio").expect("a node's name");
    let words = &[
        "\"stages\":{",
        "\"status\":\"",
        "SUCCESS",
        "\"output\":",
        "\"duration\":",
        "1e400",
        "-1",
        "null",
        "\"updated_at\":",
    ];
    fuzz("foreign_stages", words, move |bytes| {
        let json = ForeignJson {
            key: "t:node:ffmpeg.extract_audio".into(),
            sha: String::new(),
            ttl_ms: 1000,
            json: String::from_utf8_lossy(bytes).into_owned(),
            noted: None,
        };
        let day = Duration::from_secs(86_400).as_secs();
        if let Some(stage) = ForeignStage::read(&node, &json, day, Timestamp::now()) {
            assert!(stage.duration.is_finite() && stage.duration >= 0.0, "{}", json.json);
            assert!(
                stage.progress.is_none_or(|progress| (0.0..=100.0).contains(&progress)),
                "{}",
                json.json
            );
        }
    });
}
