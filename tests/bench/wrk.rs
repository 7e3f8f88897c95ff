//! Load by wrk: one thread, 64 connections.

use std::{path::Path, process::Command};

/// What wrk measured.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Requests that were answered.
    pub requests: u64,
    pub per_second: f64,
    pub p50: f64,
    /// Milliseconds, as `p50`.
    pub p99: f64,
}

/// Sends one request over and over. With a body it is a POST.
pub fn load(dir: &Path, port: u16, path: &str, body: Option<&str>, seconds: u64) -> Load {
    let script = dir.join("wrk.lua");
    let text = body.map_or_else(String::new, |body| {
        format!("wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['Content-Type'] = 'application/json'\n")
    });
    std::fs::write(&script, text).expect("the script is written");
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "--latency", &format!("-d{seconds}s"), "-s"])
        .arg(&script)
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .expect("wrk is installed (assets/install-deps.sh bench)");
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |what: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(what))
            .map(str::trim)
    };
    assert!(
        output.status.success() && after("Non-2xx").is_none() && after("Socket errors").is_none(),
        "wrk failed:\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let find = |what: &str| after(what).unwrap_or_else(|| panic!("wrk printed no {what}:\n{text}"));
    let requests = text
        .lines()
        .find_map(|line| line.split_once(" requests in ")?.0.trim().parse().ok());
    Load {
        requests: requests.expect("wrk counts its requests"),
        per_second: find("Requests/sec:").parse().expect("a number"),
        p50: milliseconds(find("50%")),
        p99: milliseconds(find("99%")),
    }
}

fn milliseconds(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = match &text[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        other => panic!("a time in {other}"),
    };
    digits.parse::<f64>().expect("a number") * unit
}
