//! One question to an OpenAI-compatible chat completions endpoint: asked again where that may help, bounded by the
//! run's token and time. What was asked and answered is logged by its size alone (D37).

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use futures_util::StreamExt;
use onceover_common::{Missing, catalog::NodeSpec, humane};
use reqwest::{
    Client, Response, StatusCode,
    header::{AUTHORIZATION, LOCATION, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use super::providers::{Key, Provider};
use crate::executor::run::{RunContext, RunError};
use crate::limits::Limit;

/// Between two tries, growing to the second; half of it and more is chance.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of one answer.
pub const LONGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Characters of a provider's error in ours.
const LONGEST_QUOTE: usize = 300;

/// A conversation with one provider for one run.
pub(super) struct Chat<'a> {
    context: &'a RunContext,
    provider: &'a Provider,
    http: &'a Client,
    endpoint: Url,
    model: &'a str,
    key: Option<Key>,
    /// In all, the first included.
    tries: usize,
    /// Of one try.
    timeout: Duration,
    /// When the run's time limit ends it.
    deadline: Instant,
}

/// Why there is no usable reply.
#[derive(Debug)]
pub(super) enum Unanswered {
    Interrupted,
    /// The provider did not answer, or refused.
    Failed(String),
    /// It answered, but never as asked; what was wrong with the last reply.
    Unusable(String),
}

impl From<Unanswered> for RunError {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Interrupted => Self::Interrupted,
            Unanswered::Failed(why) | Unanswered::Unusable(why) => Self::Failed(why),
        }
    }
}

/// What is wrong with one try.
enum Fault {
    /// Another try may help, after this long at least where the provider says so.
    Passing { why: String, after: Option<Duration> },
    /// The reply is not as asked.
    Unusable(String),
    /// No other try would help.
    Lasting(String),
}

/// The part of an answer that counts.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

impl<'a> Chat<'a> {
    pub(super) fn new(
        context: &'a RunContext,
        provider: &'a Provider,
        http: &'a Client,
        tries: usize,
        timeout: Option<Duration>,
    ) -> Result<Self, RunError> {
        let lacks = |missing: Missing| RunError::failed(format!("this machine lacks {missing}"));
        if let Some(missing) = provider.missing() {
            return Err(lacks(missing));
        }
        let (Some(endpoint), Some(model)) = (provider.endpoint(), provider.model.as_deref()) else {
            return Err(RunError::failed(format!(
                "llm.providers.{}.url cannot be used",
                provider.name
            )));
        };
        let NodeSpec { timeout_seconds, .. } = &*context.node;
        Ok(Self {
            context,
            provider,
            http,
            endpoint,
            model,
            key: provider.key().map_err(lacks)?,
            tries: tries.max(1),
            timeout: timeout.unwrap_or(provider.timeout),
            deadline: Instant::now() + Duration::from_secs(*timeout_seconds),
        })
    }

    pub(super) fn provider(&self) -> &Provider {
        self.provider
    }

    pub(super) fn model(&self) -> &str {
        self.model
    }

    /// Asks until a reply passes the check, whose error says what is wrong with it. `about` names the question in logs
    /// and errors: "lines 1 to 40".
    pub(super) async fn ask<T>(
        &self,
        about: &str,
        system: &str,
        user: &str,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Unanswered> {
        let mut body = json!({
            "model": self.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "temperature": self.provider.temperature,
            "max_tokens": self.provider.max_tokens,
        });
        if system.trim().is_empty()
            && let Some(messages) = body["messages"].as_array_mut()
        {
            messages.remove(0);
        }
        let log = &self.context.log;
        let tried = AtomicUsize::new(0);
        let waits = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.tries - 1);
        let asked = async || {
            tried.fetch_add(1, Ordering::Relaxed);
            let reply = self.try_once(about, &body).await?;
            check(&reply).map_err(Fault::Unusable)
        };
        let answered = asked
            .retry(waits)
            .when(|fault| !matches!(fault, Fault::Lasting(_)))
            .adjust(|fault, wait| self.wait(fault, wait?))
            .notify(|fault, wait| log.line(&format!("{about}: {}; again in {wait:.1?}", fault.why())));
        let answered = tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => return Err(Unanswered::Interrupted),
            answered = answered => answered,
        };
        let tried = match tried.into_inner() {
            1 => "1 try".to_owned(),
            count => format!("{count} tries"),
        };
        let name = &self.provider.name;
        answered.map_err(|fault| match fault {
            Fault::Lasting(why) => Unanswered::Failed(format!("{name} did not do {about}: {why}")),
            Fault::Unusable(why) => Unanswered::Unusable(format!(
                "{name} gave no usable reply for {about} in {tried}; the last one: {why}"
            )),
            Fault::Passing { why, after } => {
                let late = after
                    .filter(|after| Instant::now() + *after >= self.deadline)
                    .map_or("", |_| ", which is longer than this run may still take");
                Unanswered::Failed(format!("{name} did not answer for {about} in {tried}: {why}{late}"))
            }
        })
    }

    /// How long to wait before the next try; `None`: there is no use in one.
    fn wait(&self, fault: &Fault, wait: Duration) -> Option<Duration> {
        let wait = match fault {
            // Another answer costs nobody a wait.
            Fault::Unusable(_) => Duration::ZERO,
            // Not sooner than asked, and not all at the same moment.
            Fault::Passing { after: Some(after), .. } => *after + wait.min(*after / 10),
            Fault::Passing { .. } | Fault::Lasting(_) => wait,
        };
        (Instant::now() + wait < self.deadline).then_some(wait)
    }

    async fn try_once(&self, about: &str, body: &Value) -> Result<String, Fault> {
        let start = Instant::now();
        let mut request = self.http.post(self.endpoint.clone()).timeout(self.timeout).json(body);
        if let Some(header) = self.key.as_ref().and_then(Key::header) {
            request = request.header(AUTHORIZATION, header);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(status, response).await);
        }
        let bytes = self.read(response).await?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|why| Fault::Passing {
            why: format!("its answer is not a chat completion ({why}): {}", self.quote(&bytes)),
            after: None,
        })?;
        if !answer.error.is_null() {
            return Err(Fault::Passing {
                why: format!("it answered with an error: {}", self.quote(&bytes)),
                after: None,
            });
        }
        let Some(choice) = answer.choices.into_iter().next() else {
            return Err(Fault::Passing {
                why: format!("its answer has no choices: {}", self.quote(&bytes)),
                after: None,
            });
        };
        let reply = choice.message.content.unwrap_or_default();
        let tokens = answer.usage.get("total_tokens").and_then(Value::as_u64);
        self.context.log.line(&format!(
            "{about}: {} answered after {:.1?} with {} characters{}",
            self.model,
            start.elapsed(),
            reply.chars().count(),
            tokens.map_or_else(String::new, |tokens| format!(", {tokens} tokens in all")),
        ));
        match choice.finish_reason.as_deref() {
            Some("length") => Err(Fault::Lasting(format!(
                "the reply was cut at its limit of {} tokens; raise llm.providers.{}.max_tokens",
                self.provider.max_tokens, self.provider.name
            ))),
            Some("content_filter") => Err(Fault::Lasting("its content filter held the reply back".into())),
            _ => Ok(reply),
        }
    }

    async fn read(&self, response: Response) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| self.unreachable(&error))?);
            if bytes.len() > LONGEST_ANSWER {
                Limit::ModelAnswer.reached();
                return Err(Fault::Lasting(format!(
                    "its answer has more than {LONGEST_ANSWER} bytes"
                )));
            }
        }
        Ok(bytes)
    }

    /// No answer, or not all of it.
    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let why = if error.is_timeout() {
            format!("no answer within {}", humane::duration(self.timeout))
        } else {
            let mut why = String::new();
            let mut cause: Option<&dyn std::error::Error> = Some(error);
            while let Some(error) = cause {
                why = error.to_string();
                cause = error.source();
            }
            format!("no answer from {}: {why}", self.endpoint)
        };
        Fault::Passing { why, after: None }
    }

    async fn refused(&self, status: StatusCode, response: Response) -> Fault {
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?));
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(|to| self.hide(to));
        // What it says is for the message alone, so whatever came of it will do.
        let said = self.read(response).await.unwrap_or_default();
        let said = match self.quote(&said) {
            quote if quote.is_empty() => quote,
            quote => format!(": {quote}"),
        };
        let settings = format!("llm.providers.{}", self.provider.name);
        let passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
            );
        if passing {
            let asks = after.map_or_else(String::new, |after| {
                format!(", and asks to wait {}", humane::duration(after))
            });
            return Fault::Passing {
                why: format!("it answered {status}{asks}{said}"),
                after,
            };
        }
        Fault::Lasting(match (status, &self.provider.key_env) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(variable)) => {
                format!("it answered {status} to the key of {variable}{said}")
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                format!(
                    "it answered {status}, and no key is sent to it; {settings}.key_env names the variable with one{said}"
                )
            }
            _ if status.is_redirection() => format!(
                "it answered {status} and leads to {}; that is not followed, set {settings}.url",
                location.as_deref().unwrap_or("nowhere")
            ),
            (StatusCode::NOT_FOUND, _) => format!(
                "{} answered {status}; look at {settings}.url and {settings}.model ({}){said}",
                self.endpoint, self.model
            ),
            _ => format!("it answered {status}{said}"),
        })
    }

    fn hide(&self, text: &str) -> String {
        self.key
            .as_ref()
            .map_or_else(|| text.to_owned(), |key| key.hidden_in(text))
    }

    /// What a provider said, on one line, short, without the key.
    fn quote(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        // The usual shape of an error, {"error": {"message": ...}}, is for people.
        let message = serde_json::from_str::<Value>(&text).ok().and_then(|json| {
            let error = json.get("error")?;
            Some(error.get("message").unwrap_or(error).as_str()?.to_owned())
        });
        let text = self.hide(message.as_deref().unwrap_or(&text));
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(LONGEST_QUOTE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    }
}

impl Fault {
    fn why(&self) -> &str {
        match self {
            Self::Passing { why, .. } | Self::Unusable(why) | Self::Lasting(why) => why,
        }
    }
}

/// Seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("2"), Some(Duration::from_secs(2)));
        assert_eq!(retry_after(" 0.5 "), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("-1"), None);
        assert_eq!(retry_after("soon"), None);
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        assert!(retry_after(&date).is_some_and(|wait| (90..=100).contains(&wait.as_secs())));
    }
}
