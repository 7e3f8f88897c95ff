//! `onceoverd check --llm`: one request to a language model, of the kind that nodes send.

use std::time::{Duration, Instant};

use onceover_common::humane;

use super::{
    client::{Chat, Limits, Question},
    dialect::Shape,
    keyed::{self, Asked},
    providers::Providers,
};

/// How long it may take, tries together.
const LIMIT: Duration = Duration::from_secs(120);

const SYSTEM: &str = "You translate subtitles line by line.";
const USER: &str = r#"Source language: en
Target language: fr
Lines: 1

Reply with JSON and nothing else: {"lines": [{"key": 1, "source": "...", "text": "..."}]}
with one entry for each line below: its key, the first five words of the line as they are, its translation.

1 | 4.00 | 42 | Good morning
"#;

/// Asks a provider for one line, the configured one without a name. Answers what came of it, in words; so is the error.
pub(crate) async fn ask(providers: &Providers, name: Option<&str>) -> Result<String, String> {
    let provider = providers.get(name)?;
    let limits = Limits {
        tries: 1,
        timeout: Some(provider.timeout.min(LIMIT)),
        deadline: tokio::time::Instant::now() + LIMIT,
    };
    let chat = Chat::new(providers, provider, limits)?;
    let question = Question {
        about: "a line to translate",
        system: SYSTEM,
        user: USER,
        shape: Shape::Lines,
        again: false,
    };
    let asked = [Asked {
        key: 1,
        source: "Good morning",
        columns: "4.00 | 42",
    }];
    let start = Instant::now();
    let check = |reply: &str| {
        let text = keyed::read(reply, &asked)?.texts.remove(&1);
        text.ok_or_else(|| "its line is not an answer".to_owned())
    };
    let text = chat.ask(question, check).await.map_err(|why| match why {
        super::client::Unanswered::Interrupted => "interrupted".to_owned(),
        super::client::Unanswered::Failed(why) | super::client::Unanswered::Unusable(why) => why,
    })?;
    Ok(format!(
        "{} of {} translated 'Good morning' as '{text}' in {}; sent are {}",
        chat.model(),
        provider.name,
        humane::duration(Duration::from_millis(
            u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
        )),
        providers.dialect(provider).in_words(provider)
    ))
}
