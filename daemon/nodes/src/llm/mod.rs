//! The nodes that ask a language model, the parameters of a request for that, and the checks of answers. The
//! configuration decides which providers there are.

pub(super) mod ai_optimize_text;
mod answer;
mod client;
mod config;
pub(super) mod correct_subtitles;
mod dialect;
mod fitting;
mod gather;
mod kept;
mod keyed;
pub mod local;
mod providers;
pub(super) mod translate_subtitles;
pub mod trial;

use std::time::Duration;

use onceover_types::FieldError;
use serde_json::Value;

use self::client::Chat;
pub use self::{client::LONGEST_ANSWER, gather::MOST_FRUITLESS, kept::MOST_KEPT};
pub use self::{
    config::{LlmConfig, ProviderConfig, ResponseFormat},
    providers::{Provider, Providers},
};
use super::input::{Input, read};
use onceover_run::{Object, RunContext, RunError};

/// Returns the faults of a request that its node file cannot describe.
pub(super) fn check(builtin: &str, input: &Object, providers: &Providers) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(Value::String(name)) = input.get("provider") {
        errors.extend(providers.check("input_data.provider", name));
    }
    if builtin == correct_subtitles::NAME {
        errors.extend(correct_subtitles::check(input, providers));
    }
    errors
}

/// Returns the provider this request wants; `None` if the configured one.
pub(super) fn wanted<'a>(value: impl Fn(&str) -> Option<&'a Value>) -> Option<&'a str> {
    let nested = value("subtitle_correction").and_then(|correction| correction.get("provider")?.as_str());
    nested.or_else(|| value("provider")?.as_str())
}

/// Returns the conversation a run's parameters ask for.
fn chat(context: &RunContext, providers: &Providers) -> Result<Chat, RunError> {
    let input = Input(context);
    let provider = providers
        .get(wanted(|name| context.input.get(name)))
        .map_err(|why| RunError::failed(format!("input_data.provider: {why}")))?;
    let timeout = match input.optional_number("timeout") {
        None => None,
        Some(seconds) => Some(
            Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|timeout| !timeout.is_zero())
                .ok_or_else(|| RunError::failed("input_data.timeout must be a number of seconds above zero"))?,
        ),
    };
    let tries = usize::try_from(input.count("max_retries")?).unwrap_or(usize::MAX);
    Chat::of_run(context, providers, provider, tries, timeout)
}

/// Returns the model's instructions: `system_prompt_override`, else the file of `prompt_file_path`, else the shipped
/// prompt.
fn system_prompt(context: &RunContext, shipped: &str) -> Result<String, RunError> {
    let input = Input(context);
    if let Some(text) = input
        .text("system_prompt_override")
        .filter(|text| !text.trim().is_empty())
    {
        return Ok(text.to_owned());
    }
    let Some(file) = input.optional_file("prompt_file_path")? else {
        return Ok(shipped.to_owned());
    };
    let wrong = |why: &str| RunError::failed(format!("input_data.prompt_file_path: {} {why}", file.display()));
    let text = String::from_utf8(read(&file)?).map_err(|_| wrong("is not UTF-8 text"))?;
    if text.trim().is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(text)
}

/// Returns how many tokens a text is, roughly and rather too many: four characters of ASCII, one of anything else.
fn tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().count() - ascii;
    ascii.div_ceil(4) + others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_not_underrated() {
        assert_eq!(tokens(""), 0);
        assert_eq!(tokens("word word word word."), 5);
        assert_eq!(tokens("안녕하세요"), 5);
    }
}
