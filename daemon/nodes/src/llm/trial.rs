//! `onceoverd check --llm`: asks a language model to translate one line, as a run would.

use std::time::{Duration, Instant};

use onceover_types::humane;

use super::{
    client::{Chat, ChatLimits, Unanswered},
    providers::Providers,
    translate_subtitles::translate_one,
};

/// How long all tries together may take.
const LIMIT: Duration = Duration::from_secs(120);

const LINE: &str = "Good morning";

/// Asks a provider for one line; the configured one if no name is given. Returns the outcome for people, as the error
/// does.
pub async fn ask(providers: &Providers, name: Option<&str>) -> Result<String, String> {
    let provider = providers.get(name)?;
    let limits = ChatLimits {
        tries: 1,
        timeout: Some(provider.timeout.min(LIMIT)),
        deadline: tokio::time::Instant::now() + LIMIT,
    };
    let chat = Chat::new(providers, provider, limits)?;
    let start = Instant::now();
    let text = translate_one(&chat, LINE).await.map_err(|why| match why {
        Unanswered::Interrupted => "interrupted".to_owned(),
        Unanswered::Failed(why) | Unanswered::Unusable(why) => why,
    })?;
    Ok(format!(
        "{} of {} translated '{LINE}' as '{text}' in {}; sent are {}",
        chat.model(),
        provider.name,
        humane::duration(Duration::from_millis(
            u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
        )),
        providers.dialect(provider).in_words(provider)
    ))
}
