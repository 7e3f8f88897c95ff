//! `wservice.ai_optimize_text`: corrects spelling and punctuation of a transcript's whole text, and writes it as plain
//! text.

use serde_json::json;

use super::{
    super::{
        input::{Input, create_folder, path_text, stem, write},
        timed_text,
    },
    chat,
    client::{Chat, ChatQuestion, Unanswered},
    dialect::Shape,
    kept::{self, KeptAnswers},
    providers::Providers,
    system_prompt, tokens,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

pub(crate) const NAME: &str = "wservice.ai_optimize_text";

const PROMPT: &str = include_str!("../../../../assets/prompts/optimize_text.md");

/// A repaired text is about as long as the text; a summary, a refusal or a commentary is not.
const LENGTHS: std::ops::RangeInclusive<f64> = 0.4..=2.5;
/// Characters below which the length shows nothing.
const SHORT: usize = 60;

/// What ends a sentence.
const SENTENCE_ENDS: [char; 7] = ['.', '!', '?', '…', '。', '！', '？'];

pub(crate) async fn run(context: &RunContext, providers: &Providers) -> Result<Object, RunError> {
    let input = Input(context);
    let file = input.file("segments_file")?;
    let texts = timed_text::texts_of(context, &file).await?;
    let system = system_prompt(context, PROMPT)?;
    let chat = chat(context, providers)?;

    // The reply is about as long as the text, and must not be cut.
    let budget = (chat.provider().max_tokens as usize * 4 / 5).max(1);
    let parts = parts(&texts, budget);
    let kept = KeptAnswers::open(context);
    let mut replies = Vec::with_capacity(parts.len());
    let mut unrepaired = Vec::new();
    for (done, part) in parts.iter().enumerate() {
        let about = match parts.len() {
            1 => "the text".to_owned(),
            count => format!("part {} of {count} of the text", done + 1),
        };
        match repair(&chat, &kept, &about, &system, part).await {
            Ok(text) => replies.push(text),
            Err(Unanswered::Unusable(why)) => {
                chat.line(&format!("{about} stays as it was: {why}"));
                replies.push(part.clone());
                unrepaired.push(why);
            }
            Err(why) => return Err(why.into()),
        }
        context.progress.report(
            (done + 1) as f64 * 100.0 / parts.len() as f64,
            Some(format!("{} of {} parts", done + 1, parts.len())),
        );
    }
    if unrepaired.len() == parts.len() {
        return Err(RunError::failed(unrepaired.swap_remove(0)));
    }
    if let Some(why) = unrepaired.first() {
        let (count, all) = (unrepaired.len(), parts.len());
        let text = format!("{count} of {all} parts of the text stay as they were: {why}");
        let warning = Warning::new(Code::LinesUntranslated, text).with("parts", count);
        context.warnings.add(warning.retryable());
    }
    // A single reply stays as it is; several become paragraphs.
    let text = match replies.as_slice() {
        [reply] => reply.clone(),
        replies => replies
            .iter()
            .map(|reply| reply.trim())
            .collect::<Vec<_>>()
            .join("\n\n"),
    };

    let name = input.text("segments_file").and_then(stem);
    let name = name.unwrap_or_else(|| "transcript".into());
    let path = create_folder(context, "data")?.join(format!("{name}_optimized_text.txt"));
    write(&path, text.as_bytes())?;
    let output = json!({
        "optimized_text_file": path_text(&path),
        "engine": chat.provider().name,
        "model_name": chat.model(),
        "provider_used": chat.provider().name,
        "model_used": chat.model(),
        "parts": parts.len(),
        "questions": chat.questions(),
    });
    Ok(serde_json::from_value(output).expect("an object"))
}

/// Returns the repaired text of one part, which an earlier run may have left.
async fn repair(chat: &Chat, kept: &KeptAnswers, about: &str, system: &str, part: &str) -> Result<String, Unanswered> {
    let key = kept::key(&[NAME, &chat.provider().name, chat.model(), system, part]);
    if let Some(text) = kept.get(&key) {
        return Ok(text);
    }
    let question = ChatQuestion {
        about,
        system,
        user: part,
        shape: Shape::Text,
        again: true,
    };
    let text = chat.ask(question, |reply| accept(reply, part)).await?;
    kept.add(vec![(key, text.clone())]);
    Ok(text)
}

/// Returns the reply as the repaired text. The error says what is wrong with it.
fn accept(reply: &str, part: &str) -> Result<String, String> {
    let text = reply.trim();
    if text.is_empty() {
        return Err("it is empty".into());
    }
    let (length, expected) = (text.chars().count(), part.chars().count());
    if expected > SHORT && !LENGTHS.contains(&(length as f64 / expected as f64)) {
        return Err(format!(
            "it has {length} characters for {expected}, so that it is another text"
        ));
    }
    Ok(text.to_owned())
}

/// Returns the texts joined by blanks, as one part where it fits the budget (tokens), else cut behind a segment, if
/// there is one in the later half of the part behind one that ends a sentence.
fn parts(texts: &[String], budget: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut open: Vec<&str> = Vec::new();
    let mut size = 0;
    let pieces = texts.iter().flat_map(|text| fitting(text, budget));
    for piece in pieces {
        let more = tokens(piece) + 1;
        if size + more > budget && !open.is_empty() {
            let sentence = open.iter().rposition(|text| text.ends_with(SENTENCE_ENDS));
            let cut = sentence
                .filter(|at| at + 1 > open.len() / 2)
                .map_or(open.len(), |at| at + 1);
            parts.push(open[..cut].join(" "));
            open.drain(..cut);
            size = open.iter().map(|text| tokens(text) + 1).sum();
        }
        // The text that is carried over may leave no space.
        if size + more > budget && !open.is_empty() {
            parts.push(open.join(" "));
            open.clear();
            size = 0;
        }
        open.push(piece);
        size += more;
    }
    parts.push(open.join(" "));
    parts
}

/// Returns a text too long for one part, cut behind a line, else a sentence, else a word, else anywhere.
fn fitting(text: &str, budget: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while tokens(rest) + 1 > budget {
        let fits = rest
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .take_while(|end| tokens(&rest[..*end]) < budget)
            .last();
        let longest = fits.unwrap_or_else(|| rest.chars().next().map_or(rest.len(), char::len_utf8));
        let head = &rest[..longest];
        let end = head
            .rfind('\n')
            .or_else(|| head.rfind(SENTENCE_ENDS))
            .or_else(|| head.rfind(char::is_whitespace))
            .map_or(longest, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
        pieces.push(rest[..end].trim());
        rest = rest[end..].trim();
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timed_text::Document;

    fn texts(bytes: &[u8]) -> Result<Vec<String>, String> {
        let texts = Document::read(bytes, None).and_then(Document::texts);
        texts.map(|(texts, _)| texts)
    }

    #[test]
    fn the_text_is_that_of_the_segments() {
        let json =
            r#"{"segments":[{"id":1,"text":" Good morning "},{"id":2,"text":"  "},{"id":3},{"id":4,"text":"all."}]}"#;
        assert_eq!(texts(json.as_bytes()).unwrap(), ["Good morning", "all."]);
        assert_eq!(texts(br#"[{"text":"a"}]"#).unwrap(), ["a"]);
        assert_eq!(texts(br#"{"text":" a b","time_stamps":[]}"#).unwrap(), ["a b"]);
        for (bad, why) in [
            ("{}", "segments"),
            (r#"{"segments":[]}"#, "no segment"),
            (r#"{"segments":[{"text":" "}]}"#, "no segment"),
            ("x", "not JSON"),
        ] {
            let error = texts(bad.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_reply_of_another_length_is_another_text() {
        let part = "word ".repeat(100);
        assert!(accept("In short: words.", &part).unwrap_err().contains("another text"));
        assert!(accept(&part.repeat(3), &part).is_err());
        assert_eq!(accept(&format!(" {}\n", part.trim()), &part).unwrap(), part.trim());
        assert_eq!(
            accept("Good morning, all of you who are here.", "hello").unwrap().len(),
            38
        );
        assert!(accept(" \n", "hello").unwrap_err().contains("empty"));
    }

    #[test]
    fn a_long_text_is_cut_behind_sentences() {
        let texts: Vec<String> = ["One two three.", "Four five", "six.", "Seven eight", "nine."]
            .map(Into::into)
            .to_vec();
        assert_eq!(parts(&texts, 1000), ["One two three. Four five six. Seven eight nine."]);
        assert_eq!(
            parts(&texts, 14),
            ["One two three. Four five six.", "Seven eight nine."]
        );
        let long = vec!["word ".repeat(100).trim().to_owned()];
        assert!(
            parts(&long, 20)
                .iter()
                .all(|part| tokens(part) <= 20 && part.ends_with("word"))
        );
    }

    proptest! {
        #[test]
        fn no_part_is_too_long_and_no_word_is_lost(
            texts in prop::collection::vec("[a-z. 안!\n]{0,60}[a-z]", 1..12),
            budget in 4usize..60,
        ) {
            let texts: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
            let parts = parts(&texts, budget);
            for part in &parts {
                prop_assert!(tokens(part) <= budget, "{part:?} in {budget}");
            }
            let letters = |texts: &[String]| -> String {
                texts.concat().chars().filter(|c| !c.is_whitespace()).collect()
            };
            prop_assert_eq!(letters(&parts), letters(&texts));
        }
    }
}
