//! `wservice.check_subtitles`: judges subtitles as broadcasters do and changes nothing: how fast they must be read, how
//! long lines are, what overlaps, is empty or out of order.

use serde::Serialize;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::{
    input::{Input, compute, create_folder, path_text, stem, write_json},
    spoken::millis,
    timed_text::{self, RawCue, shown_lines},
};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let limits = Limits {
        characters_per_second: input.number("max_characters_per_second")?,
        line_length: input.number("max_line_length")?,
        lines: input.number("max_lines")?,
        shortest: input.number("min_duration")?,
        longest: input.number("max_duration")?,
        gap: input.number("min_gap")?,
    };
    let file = input.file("subtitle_path")?;
    let name = input
        .text("subtitle_path")
        .and_then(stem)
        .unwrap_or_else(|| "subtitles".into());
    let report = create_folder(context, "report")?.join(format!("{name}_check.json"));
    let target = report.clone();
    let (shown, unreadable) = timed_text::raw_cues_of(context, &file).await?;
    let (counts, by_kind, cues) = compute(move || {
        let mut findings: Vec<_> = unreadable.into_iter().map(Finding::unreadable).collect();
        findings.extend(check(&shown, limits));
        let count = |severity: Severity| findings.iter().filter(|found| found.severity == severity).count();
        let counts = json!({
            "error": count(Severity::Error),
            "warning": count(Severity::Warning),
            "info": count(Severity::Info),
        });
        let mut by_kind = Object::new();
        for found in &findings {
            let so_far = by_kind.get(found.kind.name()).and_then(Value::as_u64).unwrap_or(0);
            by_kind.insert(found.kind.name().into(), json!(so_far + 1));
        }
        let json = json!({
            "file": path_text(&file),
            "cues": shown.len(),
            "limits": limits,
            "counts": counts,
            "by_kind": by_kind,
            "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        write_json(&target, &json)?;
        Ok((counts, by_kind, shown.len()))
    })
    .await?;
    Ok(Object::from_iter([
        ("report_path".into(), json!(path_text(&report))),
        ("passed".into(), json!(counts["error"] == 0)),
        ("cues_count".into(), json!(cues)),
        ("counts".into(), counts),
        ("by_kind".into(), Value::Object(by_kind)),
    ]))
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Limits {
    #[serde(rename = "max_characters_per_second")]
    characters_per_second: f64,
    #[serde(rename = "max_line_length")]
    line_length: f64,
    #[serde(rename = "max_lines")]
    lines: f64,
    #[serde(rename = "min_duration")]
    shortest: f64,
    #[serde(rename = "max_duration")]
    longest: f64,
    #[serde(rename = "min_gap")]
    gap: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// A viewer misses something.
    Error,
    /// A viewer is troubled.
    Warning,
    /// It may be intended.
    Info,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unreadable,
    Empty,
    NoDuration,
    OutOfOrder,
    Overlap,
    GapTooSmall,
    TooFast,
    LineTooLong,
    TooManyLines,
    TooShort,
    TooLong,
    Repeated,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::NoDuration => "no_duration",
            Self::OutOfOrder => "out_of_order",
            Self::Overlap => "overlap",
            Self::GapTooSmall => "gap_too_small",
            Self::TooFast => "too_fast",
            Self::LineTooLong => "line_too_long",
            Self::TooManyLines => "too_many_lines",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Repeated => "repeated",
        }
    }
}

/// One fault of the subtitles.
#[derive(Debug, Clone, PartialEq)]
struct Finding {
    severity: Severity,
    kind: Kind,
    /// Number of the cue, from 1.
    cue: usize,
    start: f64,
    end: f64,
    /// What was measured and what is allowed, in the unit of the limit.
    measured: f64,
    limit: f64,
}

impl Finding {
    /// Returns a record of which not even the times can be read.
    fn unreadable(number: usize) -> Self {
        Self {
            severity: Severity::Error,
            kind: Kind::Unreadable,
            cue: number,
            start: 0.0,
            end: 0.0,
            measured: 0.0,
            limit: 0.0,
        }
    }

    fn json(&self) -> Value {
        json!({
            "severity": self.severity,
            "kind": self.kind.name(),
            "cue": self.cue,
            "start": millis(self.start),
            "end": millis(self.end),
            "measured": millis(self.measured),
            "limit": self.limit,
        })
    }
}

fn check(cues: &[RawCue], limits: Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (position, cue) in cues.iter().enumerate() {
        let mut find = |severity: Severity, kind: Kind, measured: f64, limit: f64| {
            findings.push(Finding {
                severity,
                kind,
                cue: position + 1,
                start: cue.start,
                end: cue.end,
                measured,
                limit,
            });
        };
        check_alone(cue, limits, &mut find);
        if let Some(before) = position.checked_sub(1).map(|before| &cues[before]) {
            check_after(before, cue, limits, &mut find);
        }
    }
    findings
}

fn check_alone(cue: &RawCue, limits: Limits, find: &mut impl FnMut(Severity, Kind, f64, f64)) {
    let lines = shown_lines(&cue.text);
    let seconds = millis(cue.end - cue.start);
    if lines.is_empty() {
        find(Severity::Error, Kind::Empty, 0.0, 1.0);
    }
    if lines.len() as f64 > limits.lines {
        find(Severity::Warning, Kind::TooManyLines, lines.len() as f64, limits.lines);
    }
    // A letter that is twice as wide (Chinese, Japanese, Korean) counts as two.
    let longest = lines.iter().map(|line| line.width()).max().unwrap_or(0) as f64;
    if longest > limits.line_length {
        find(Severity::Warning, Kind::LineTooLong, longest, limits.line_length);
    }
    if seconds <= 0.0 {
        find(Severity::Error, Kind::NoDuration, seconds, limits.shortest);
        return;
    }
    if seconds < limits.shortest {
        find(Severity::Warning, Kind::TooShort, seconds, limits.shortest);
    }
    if seconds > limits.longest {
        find(Severity::Warning, Kind::TooLong, seconds, limits.longest);
    }
    let speed = reading_speed(&lines, seconds);
    if speed > limits.characters_per_second {
        let is_unreadable = speed > 1.5 * limits.characters_per_second;
        let severity = if is_unreadable {
            Severity::Error
        } else {
            Severity::Warning
        };
        find(severity, Kind::TooFast, speed, limits.characters_per_second);
    }
}

/// Returns the letters that a viewer has to read in a second; wide ones count as two.
pub(crate) fn reading_speed(lines: &[&str], seconds: f64) -> f64 {
    let letters: usize = lines.iter().map(|line| line.width()).sum();
    letters as f64 / seconds
}

fn check_after(before: &RawCue, cue: &RawCue, limits: Limits, find: &mut impl FnMut(Severity, Kind, f64, f64)) {
    if cue.start < before.start {
        find(Severity::Error, Kind::OutOfOrder, millis(cue.start - before.start), 0.0);
        return;
    }
    let gap = millis(cue.start - before.end);
    if gap < 0.0 {
        find(Severity::Error, Kind::Overlap, -gap, 0.0);
    } else if gap > 0.0 && gap < limits.gap {
        find(Severity::Warning, Kind::GapTooSmall, gap, limits.gap);
    }
    let text = cue.text.trim();
    if !text.is_empty() && text == before.text.trim() {
        find(Severity::Info, Kind::Repeated, 1.0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    const NODE: &str = "wservice.check_subtitles";

    async fn findings(name: &str, text: &str) -> (Object, Vec<(String, u64, String)>) {
        let fixture = Fixture::with_input(NODE, |fixture| json!({"subtitle_path": fixture.file(name, text)}));
        let output = run(&fixture.context).await.unwrap();
        assert!(fixture.context.node.output_is_reusable(&output));
        let report = std::fs::read(output["report_path"].as_str().unwrap()).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let found = report["findings"].as_array().unwrap().iter().map(|found| {
            let text = |name: &str| found[name].as_str().unwrap().to_owned();
            (text("kind"), found["cue"].as_u64().unwrap(), text("severity"))
        });
        (output, found.collect())
    }

    #[tokio::test]
    async fn every_kind_of_fault_is_found_once_with_its_severity() {
        let srt = "1\n00:00:01,000 --> 00:00:03,000\nA good line.\n\n\
            2\n00:00:03,040 --> 00:00:04,000\n<i>Too many letters, here</i>\n\n\
            3\n00:00:03,500 --> 00:00:06,000\n{\\an8}Overlaps\n\n\
            4\n00:00:07,000 --> 00:00:09,000\n \n\n\
            5\n00:00:10,000 --> 00:00:10,000\nNo time\n\n\
            6\n00:00:09,500 --> 00:00:09,800\nno\n\n\
            7\n00:00:20,000 --> 00:00:28,000\nThis line is longer than forty-two letters, by far.\nb\nc\n\n\
            00:00:xx,000 --> 00:00:29,000\nNobody knows when\n\n\
            8\n00:00:30,000 --> 00:00:31,000\nSo many letters that nobody can read it all\n\n\
            9\n00:00:32,000 --> 00:00:33,000\nSame\n\n\
            10\n00:00:34,000 --> 00:00:35,000\nSame\n";
        let (output, found) = findings("a.srt", srt).await;
        let found: Vec<_> = found
            .iter()
            .map(|(kind, cue, severity)| (kind.as_str(), *cue, severity.as_str()))
            .collect();
        let expected = [
            ("unreadable", 8, "error"),
            ("too_fast", 2, "warning"),
            ("gap_too_small", 2, "warning"),
            ("overlap", 3, "error"),
            ("empty", 4, "error"),
            ("no_duration", 5, "error"),
            ("too_short", 6, "warning"),
            ("out_of_order", 6, "error"),
            ("too_many_lines", 7, "warning"),
            ("line_too_long", 7, "warning"),
            ("too_long", 7, "warning"),
            ("line_too_long", 8, "warning"),
            ("too_fast", 8, "error"),
            ("repeated", 10, "info"),
        ];
        for one in expected {
            assert!(found.contains(&one), "{one:?} is not in {found:?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert_eq!(output["counts"], json!({"error": 6, "warning": 7, "info": 1}));
        assert_eq!((&output["passed"], &output["cues_count"]), (&json!(false), &json!(10)));
        assert_eq!(output["by_kind"]["too_fast"], 2);
    }

    #[tokio::test]
    async fn a_record_of_json_that_cannot_be_read_is_an_error_and_a_warning() {
        let json = r#"{"segments": [{"start": 1, "end": 3, "text": "Hello there"}, {"end": 5, "text": "lost"}, 7]}"#;
        let (output, found) = findings("broken.json", json).await;
        let unreadable = |cue: u64| ("unreadable".to_owned(), cue, "error".to_owned());
        assert_eq!(found, [unreadable(2), unreadable(3)]);
        assert_eq!((&output["passed"], &output["cues_count"]), (&json!(false), &json!(1)));
        let fixture = Fixture::with_input(
            NODE,
            |fixture| json!({"subtitle_path": fixture.file("broken.json", json)}),
        );
        run(&fixture.context).await.unwrap();
        assert_eq!(fixture.warning_codes(), ["records_skipped"]);
        assert!(fixture.log_text().contains("record 2 has no number 'start'"));
    }

    #[tokio::test]
    async fn good_subtitles_pass_in_every_format() {
        let vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\nHello there\n\n00:04.000 --> 00:06.000\n<v Ann>Good\nday\n";
        let ass = "[Script Info]\n\n[V4+ Styles]\nFormat: Name\nStyle: A\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\
                   Dialogue: 0,0:00:01.00,0:00:02.00,A,{\\i1}Hello\\Nthere\n";
        let json = r#"{"segments": [{"start": 1, "end": 3, "text": "Hello there"}]}"#;
        // The last line of lyrics has no end, and one that is guessed is no fault.
        let lrc = "[00:01.00]Hello there\n[00:03.00]Good day, and how do you do\n";
        // Wide letters count as two: 9 a second is what is allowed, about.
        let wide = "1\n00:00:01,000 --> 00:00:03,000\n一二三四五六七八九十一二三四五六\n";
        for (name, text) in [
            ("a.vtt", vtt),
            ("a.ass", ass),
            ("a.json", json),
            ("a.lrc", lrc),
            ("wide.srt", wide),
        ] {
            let (output, found) = findings(name, text).await;
            assert_eq!((found, &output["passed"]), (Vec::new(), &json!(true)), "{name}");
        }
    }
}
