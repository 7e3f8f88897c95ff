//! `wservice.translate_subtitles`: line by line, within a budget of characters that the line's time allows; times stay.

use serde_json::{Value, json};

use super::{
    super::{
        input::{Input, create_folder, path_text, read, stem, write},
        transcript::read::{Segment, parse_json, transcript},
    },
    chat, system_prompt,
};
use crate::executor::run::{Object, RunContext, RunError};

const PROMPT: &str = include_str!("../../../../assets/prompts/translate_subtitles.md");

pub(in crate::nodes) const NAME: &str = "wservice.translate_subtitles";

/// One subtitle as the model gets it.
#[derive(Debug)]
struct Line {
    /// From 1.
    index: usize,
    millis: i64,
    /// Most characters of its translation; 0: it stays empty.
    budget: usize,
    text: String,
}

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let file = input.file("segments_file")?;
    let segments = parse_json(&read(&file)?)
        .and_then(transcript)
        .map_err(|why| RunError::failed(format!("cannot translate {}: {why}", file.display())))?;
    let target = input.required_text("target_language")?;
    let source = input.text("source_language").filter(|text| !text.trim().is_empty());
    let (cps, cpl) = (input.integer("cps_limit")?, input.integer("cpl_limit")?);
    let batch_size = usize::try_from(input.count("batch_size")?).unwrap_or(usize::MAX).max(1);
    let system = system_prompt(context, PROMPT)?;
    let chat = chat(context)?;

    let lines = lines(&segments, cps, cpl);
    if lines.iter().all(|line| line.budget == 0) {
        return Err(RunError::failed(format!(
            "{} has no line with text that is shown long enough for a single character at {cps} characters a second",
            file.display()
        )));
    }
    let mut translated = Vec::with_capacity(lines.len());
    let batches: Vec<_> = lines.chunks(batch_size).collect();
    for (done, batch) in batches.iter().enumerate() {
        if batch.iter().all(|line| line.budget == 0) {
            translated.extend(batch.iter().map(|_| String::new()));
            continue;
        }
        let (first, last) = (batch[0].index, batch[batch.len() - 1].index);
        let about = format!("lines {first} to {last} of {}", lines.len());
        let question = question(batch, source, target);
        translated.extend(
            chat.ask(&about, &system, &question, |reply| accept(reply, batch))
                .await?,
        );
        context.progress.report(
            (done + 1) as f64 * 100.0 / batches.len() as f64,
            Some(format!("{last} of {} lines translated", lines.len())),
        );
    }

    let name = input
        .text("segments_file")
        .and_then(stem)
        .unwrap_or_else(|| "transcript".into());
    let path = create_folder(context, "data")?.join(format!("{name}_translated_segments.json"));
    let count = translated.iter().filter(|text| !text.is_empty()).count();
    let array: Value = segments.into_iter().zip(translated).map(replace).collect();
    let mut bytes = serde_json::to_vec_pretty(&array).expect("a JSON value is written without fail");
    bytes.push(b'\n');
    write(&path, &bytes)?;
    let output = json!({
        "translated_segments_file": path_text(&path),
        "provider_used": chat.provider().name,
        "model_used": chat.model(),
        "total_segments": lines.len(),
        "translated_segments": count,
    });
    Ok(serde_json::from_value(output).expect("an object"))
}

/// The segment with its translation; the times of its words are of words that are gone.
fn replace((segment, text): (Segment, String)) -> Value {
    let mut fields = segment.json;
    fields.insert("text".into(), text.into());
    if let Some(words) = fields.get_mut("words") {
        *words = json!([]);
    }
    fields.into()
}

/// A line has min(seconds x characters a second, characters a line), both limits at least 1, times to the millisecond.
fn lines(segments: &[Segment], cps: i64, cpl: i64) -> Vec<Line> {
    let line = |(position, segment): (usize, &Segment)| {
        let millis = ((segment.end - segment.start).max(0.0) * 1000.0).round() as i64;
        let text = segment.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let allowed = (millis.saturating_mul(cps.max(1)) / 1000).min(cpl.max(1));
        Line {
            index: position + 1,
            millis,
            // Of a line that says nothing no translation can be asked.
            budget: if text.is_empty() {
                0
            } else {
                usize::try_from(allowed).unwrap_or(0)
            },
            text,
        }
    };
    segments.iter().enumerate().map(line).collect()
}

fn question(lines: &[Line], source: Option<&str>, target: &str) -> String {
    let mut text = format!(
        "Source language: {}\nTarget language: {target}\nLines: {}\n\n",
        source.unwrap_or("find out"),
        lines.len()
    );
    for line in lines {
        let Line {
            index,
            budget,
            text: words,
            ..
        } = line;
        let (seconds, hundredths) = ((line.millis + 5) / 1000, (line.millis + 5) % 1000 / 10);
        text.push_str(&format!("{index} | {seconds}.{hundredths:02} | {budget} | {words}\n"));
    }
    text
}

/// The translations, one a line; the error says which line is wrong and why.
fn accept(reply: &str, lines: &[Line]) -> Result<Vec<String>, String> {
    let reply = reply.replace("\r\n", "\n").replace('\r', "\n");
    let mut given: Vec<&str> = reply.split('\n').map(str::trim).collect();
    while given.len() > lines.len() && given.last().is_some_and(|line| line.is_empty()) {
        given.pop();
    }
    // What is missing at the end must have nothing to say.
    let missing = lines.get(given.len()..).unwrap_or_default();
    if given.len() > lines.len() || missing.iter().any(|line| line.budget > 0) {
        return Err(format!(
            "the line count differs: {} for {}, asked were lines {} to {}",
            given.len(),
            lines.len(),
            lines[0].index,
            lines[lines.len() - 1].index
        ));
    }
    given.resize(lines.len(), "");
    lines
        .iter()
        .zip(given)
        .map(|(line, text)| {
            let length = text.chars().count();
            match line.budget {
                0 => Ok(String::new()),
                _ if text.is_empty() => Err(format!("line {} ('{}') is empty", line.index, line.text)),
                budget if length > budget => Err(format!(
                    "line {} ('{}') has {length} characters, its budget is {budget}: '{text}'",
                    line.index, line.text
                )),
                _ => Ok(text.to_owned()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[f64]) -> Vec<Line> {
        let segments: Vec<Value> = durations
            .iter()
            .map(|seconds| json!({"start": 10.0, "end": 10.0 + seconds, "text": " Some  text "}))
            .collect();
        let segments = transcript(json!(segments)).unwrap();
        lines(&segments, 18, 42)
    }

    #[test]
    fn the_worked_example_of_budgets_and_replies() {
        let lines = of(&[1.0, 0.05, 4.0]);
        let budgets: Vec<_> = lines.iter().map(|line| line.budget).collect();
        assert_eq!(budgets, [18, 0, 42]);
        assert_eq!(
            accept("Bonjour\n\nTout va bien\n", &lines).unwrap(),
            ["Bonjour", "", "Tout va bien"]
        );
        let error = accept("Bonjour", &lines).unwrap_err();
        assert!(error.contains("line count differs"), "{error}");
    }

    #[test]
    fn a_prompt_line_is_index_seconds_budget_text() {
        let lines = of(&[1.0, 0.05, 4.0]);
        let text = question(&lines, None, "fr");
        assert!(
            text.ends_with("\n1 | 1.00 | 18 | Some text\n2 | 0.05 | 0 | Some text\n3 | 4.00 | 42 | Some text\n"),
            "{text}"
        );
        assert!(text.contains("Target language: fr"), "{text}");
    }

    #[test]
    fn replies_are_checked_line_by_line() {
        let lines = of(&[1.0, 2.0, 0.05]);
        let ok = |reply: &str| accept(reply, &lines).unwrap();
        // CRLF, surplus empty lines at the end, a forced empty line, a missing line that may be.
        assert_eq!(ok("a\r\nb\r\n\r\n\r\n\r\n"), ["a", "b", ""]);
        assert_eq!(ok(" a \nb\nno time for this"), ["a", "b", ""]);
        assert_eq!(ok("a\nb"), ["a", "b", ""]);
        assert_eq!(ok(&format!("{}\nb", "é".repeat(18)))[0].chars().count(), 18);
        let error = |reply: &str| accept(reply, &lines).unwrap_err();
        assert!(error("a\n\n").contains("line 2"), "{}", error("a\n\n"));
        assert!(error("a\nb\nc\nd").contains("line count differs: 4 for 3"));
        let long = error(&format!("{}\nb", "é".repeat(19)));
        assert!(
            long.contains("line 1") && long.contains("19") && long.contains("18"),
            "{long}"
        );
        assert!(error("").contains("line count differs"));
        // An empty reply is right only where nothing can be said.
        assert_eq!(accept("", &of(&[0.01, 0.05])).unwrap(), ["", ""]);
    }

    #[test]
    fn budgets_count_whole_milliseconds_and_limits_of_at_least_one() {
        // 10.9 - 10.0 is a little less than 0.9 in binary.
        let segment = json!([{"start": 10.0, "end": 10.5, "text": "x"}, {"start": 0, "end": 9, "text": ""}]);
        let segments = transcript(segment).unwrap();
        let budgets = |cps, cpl| -> Vec<_> { lines(&segments, cps, cpl).iter().map(|line| line.budget).collect() };
        assert_eq!(budgets(18, 42), [9, 0]);
        assert_eq!(budgets(18, 0), [1, 0]);
        assert_eq!(budgets(-3, 42), [0, 0]);
        assert_eq!(of(&[1.0 / 3.0 * 3.0])[0].budget, 18);
        let edge = json!([{"start": 0.3, "end": 1.3, "text": "x"}, {"start": 1.1, "end": 2.1, "text": "x"}]);
        let segments = transcript(edge).unwrap();
        assert!(lines(&segments, 18, 42).iter().all(|line| line.budget == 18));
    }
}
