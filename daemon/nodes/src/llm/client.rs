//! Asks one question of an OpenAI-compatible chat completions endpoint, again where that may help, bounded by the run's
//! token and time. Questions and answers are logged by their size alone (D37).

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use backon::{ExponentialBuilder, Retryable};
use futures_util::StreamExt;
use onceover_types::{Missing, humane};
use reqwest::{
    Client, Response, StatusCode,
    header::{AUTHORIZATION, LOCATION, RETRY_AFTER},
};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    answer::{Finish, ModelAnswer, ModelReply},
    dialect::{Shape, is_too_long},
    providers::{Provider, ProviderKey, Providers},
};
use onceover_limits::Limit;
use onceover_run::{RunContext, RunError, log::RunLog};

/// Waits between two tries: from the first, growing to the second. At least half of a wait is random.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Bytes of one answer.
pub const LONGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Characters of a provider's error in ours.
const LONGEST_QUOTE: usize = 300;

/// Requests that one try may send until the provider refuses no parameter any more.
const MOST_ADAPTATIONS: usize = 12;

/// A conversation with one provider, for one run or for a check.
pub(super) struct Chat {
    providers: Providers,
    provider: Provider,
    http: Client,
    endpoint: Url,
    key: Option<ProviderKey>,
    limits: ChatLimits,
    log: Option<RunLog>,
    cancel: CancellationToken,
    questions: AtomicUsize,
}

/// What bounds a conversation.
pub(super) struct ChatLimits {
    /// Tries of a question, the first included.
    pub(super) tries: usize,
    /// The limit of one try; that of the provider if omitted.
    pub(super) timeout: Option<Duration>,
    /// When the run's time limit ends it.
    pub(super) deadline: Instant,
}

/// One question.
#[derive(Clone, Copy)]
pub(super) struct ChatQuestion<'a> {
    /// Names it in logs and errors: "lines 1 to 40".
    pub(super) about: &'a str,
    pub(super) system: &'a str,
    pub(super) user: &'a str,
    pub(super) shape: Shape,
    /// Whether it is asked again when the reply is not as requested.
    pub(super) again: bool,
}

/// Why there is no usable reply.
#[derive(Debug)]
pub(super) enum Unanswered {
    Interrupted,
    /// The provider did not answer, or refused.
    Failed(String),
    /// It answered, but never as requested; the text says what was wrong with the last reply. A smaller question may be
    /// answered better.
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
    /// The reply is not as requested.
    Unusable(String),
    /// The same question will not be answered better, but a smaller one may be.
    TooMuch(String),
    /// No other try would help.
    Lasting(String),
}

impl Chat {
    /// Returns the conversation of a run.
    pub(super) fn of_run(
        context: &RunContext,
        providers: &Providers,
        provider: &Provider,
        tries: usize,
        timeout: Option<Duration>,
    ) -> Result<Self, RunError> {
        let limits = ChatLimits {
            tries: tries.max(1),
            timeout,
            deadline: Instant::now() + Duration::from_secs(context.node.timeout_seconds),
        };
        let mut chat = Self::new(providers, provider, limits).map_err(RunError::Failed)?;
        chat.log = Some(context.log.clone());
        chat.cancel = context.cancel.clone();
        Ok(chat)
    }

    /// Makes a conversation with a provider. The error is a sentence.
    pub(super) fn new(providers: &Providers, provider: &Provider, limits: ChatLimits) -> Result<Self, String> {
        let lacks = |missing: Missing| format!("this machine lacks {missing}");
        if let Some(missing) = provider.missing() {
            return Err(lacks(missing));
        }
        let endpoint = provider.endpoint();
        Ok(Self {
            endpoint: endpoint.ok_or_else(|| format!("llm.providers.{}.url cannot be used", provider.name))?,
            http: providers
                .client()
                .map_err(|why| format!("cannot make the HTTP client for language models: {why}"))?
                .clone(),
            key: provider.key().map_err(lacks)?.cloned(),
            providers: providers.clone(),
            provider: provider.clone(),
            limits,
            log: None,
            cancel: CancellationToken::new(),
            questions: AtomicUsize::new(0),
        })
    }

    pub(super) fn provider(&self) -> &Provider {
        &self.provider
    }

    pub(super) fn model(&self) -> &str {
        self.provider.model.as_deref().unwrap_or_default()
    }

    /// Returns how many requests were sent so far.
    pub(super) fn questions(&self) -> usize {
        self.questions.load(Ordering::Relaxed)
    }

    /// Whether lines are asked for as JSON.
    pub(super) fn asks_for_json(&self) -> bool {
        self.providers.dialect(&self.provider).is_json()
    }

    pub(super) fn line(&self, text: &str) {
        if let Some(log) = &self.log {
            log.line(text);
        }
    }

    /// Asks until a reply passes the check, whose error says what is wrong with it.
    pub(super) async fn ask<T>(
        &self,
        question: ChatQuestion<'_>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Unanswered> {
        let tried = AtomicUsize::new(0);
        let waits = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.limits.tries - 1);
        let asked = async || {
            tried.fetch_add(1, Ordering::Relaxed);
            let reply = self.try_once(question).await?;
            check(&reply).map_err(Fault::Unusable)
        };
        let about = question.about;
        let answered = asked
            .retry(waits)
            .when(|fault| match fault {
                Fault::Passing { .. } => true,
                Fault::Unusable(_) => question.again,
                Fault::TooMuch(_) | Fault::Lasting(_) => false,
            })
            .adjust(|fault, wait| self.wait(fault, wait?))
            .notify(|fault, wait| self.line(&format!("{about}: {}; again in {wait:.1?}", fault.why())));
        let answered = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Unanswered::Interrupted),
            answered = answered => answered,
        };
        let tried = match tried.into_inner() {
            1 => "1 try".to_owned(),
            count => format!("{count} tries"),
        };
        let name = &self.provider.name;
        answered.map_err(|fault| match fault {
            Fault::Lasting(why) => Unanswered::Failed(format!("{name} failed for {about}: {why}")),
            Fault::TooMuch(why) => Unanswered::Unusable(format!("{name} failed for {about}: {why}")),
            Fault::Unusable(why) => Unanswered::Unusable(format!(
                "{name} gave no usable reply for {about} in {tried}; the last one: {why}"
            )),
            Fault::Passing { why, after } => {
                let late = after
                    .filter(|after| Instant::now() + *after >= self.limits.deadline)
                    .map_or("", |_| ", which is longer than this run may still take");
                Unanswered::Failed(format!("{name} did not answer for {about} in {tried}: {why}{late}"))
            }
        })
    }

    /// Returns how long to wait before the next try; `None` if there is no use in one.
    fn wait(&self, fault: &Fault, wait: Duration) -> Option<Duration> {
        let wait = match fault {
            // Another answer needs no wait.
            Fault::Unusable(_) => Duration::ZERO,
            // Not sooner than the provider asks for, and not all at the same moment.
            Fault::Passing { after: Some(after), .. } => *after + wait.min(*after / 10),
            Fault::Passing { .. } | Fault::TooMuch(_) | Fault::Lasting(_) => wait,
        };
        (Instant::now() + wait < self.limits.deadline).then_some(wait)
    }

    /// Sends a question, without what the provider refuses.
    async fn try_once(&self, question: ChatQuestion<'_>) -> Result<String, Fault> {
        let ChatQuestion {
            about,
            system,
            user,
            shape,
            ..
        } = question;
        let start = Instant::now();
        let mut adaptations = 0;
        let response = loop {
            let dialect = self.providers.dialect(&self.provider);
            let body = dialect.body(&self.provider, system, user, shape);
            let response = self.send(&body).await?;
            let status = response.status();
            if status.is_success() {
                break response;
            }
            if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY) {
                return Err(self.refused(status, response).await);
            }
            let said = self.read(response).await.unwrap_or_default();
            adaptations += 1;
            let Some((next, words)) = dialect
                .after(&body, &reason(&said))
                .filter(|_| adaptations < MOST_ADAPTATIONS)
            else {
                let why = format!("it answered {status}{}", colon(&self.quote(&said)));
                return Err(match is_too_long(&why) {
                    true => Fault::TooMuch(why),
                    false => Fault::Lasting(why),
                });
            };
            self.line(&format!(
                "{about}: {} refused a parameter ({status}); now {words}",
                self.model()
            ));
            self.providers.learn(&self.provider, next);
        };
        let bytes = self.read(response).await?;
        let reply = self.parse(&bytes)?;
        self.line(&format!(
            "{about}: {} answered after {:.1?} with {} characters{}",
            self.model(),
            start.elapsed(),
            reply.text.chars().count(),
            reply
                .tokens
                .map_or_else(String::new, |tokens| format!(", {tokens} tokens in all")),
        ));
        self.usable(reply)
    }

    async fn send(&self, body: &Value) -> Result<Response, Fault> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        let mut request = self
            .http
            .post(self.endpoint.clone())
            .timeout(self.timeout())
            .headers(self.provider.headers.clone())
            .json(body);
        if let Some(header) = self.key.as_ref().and_then(ProviderKey::header) {
            request = request.header(AUTHORIZATION, header);
        }
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    fn timeout(&self) -> Duration {
        self.limits.timeout.unwrap_or(self.provider.timeout)
    }

    fn parse(&self, bytes: &[u8]) -> Result<ModelReply, Fault> {
        let passing = |why: String| Fault::Passing { why, after: None };
        let answer: ModelAnswer = serde_json::from_slice(bytes).map_err(|why| {
            passing(format!(
                "its answer is not a chat completion ({why}): {}",
                self.quote(bytes)
            ))
        })?;
        if !answer.error.is_null() {
            return Err(passing(format!("it answered with an error: {}", self.quote(bytes))));
        }
        answer
            .reply()
            .ok_or_else(|| passing(format!("its answer has no choices: {}", self.quote(bytes))))
    }

    /// Returns the text of a reply that is whole.
    fn usable(&self, reply: ModelReply) -> Result<String, Fault> {
        let settings = format!("llm.providers.{}", self.provider.name);
        let thinking = match (reply.reasoned, self.provider.thinking) {
            (false, _) => String::new(),
            (true, true) => format!("; {settings}.thinking = false turns it off"),
            (true, false) => format!("; {settings}.thinking_off does not turn it off"),
        };
        match reply.finish {
            Finish::Length => {
                let most = self.providers.dialect(&self.provider).max_tokens(&self.provider);
                let reasoned = if reply.reasoned {
                    ", part of which went into reasoning"
                } else {
                    ""
                };
                Err(Fault::TooMuch(format!(
                    "the reply was cut at its limit of {most} tokens{reasoned}; raise {settings}.max_tokens{thinking}"
                )))
            }
            Finish::Filtered => Err(Fault::TooMuch("its content filter held the reply back".into())),
            Finish::Whole if reply.text.is_empty() && reply.reasoned => Err(Fault::Unusable(format!(
                "it has reasoning and no answer after it{thinking}, and a larger {settings}.max_tokens leaves room for one"
            ))),
            Finish::Whole => Ok(reply.text),
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

    /// Describes that there was no answer, or not all of it.
    fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let why = if error.is_timeout() {
            format!("no answer within {}", humane::duration(self.timeout()))
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
        // The body is for the message alone, so any part of it is enough.
        let said = self.read(response).await.unwrap_or_default();
        let said = colon(&self.quote(&said));
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
                "{} answered {status}; check {settings}.url and {settings}.model ({}){said}",
                self.endpoint,
                self.model()
            ),
            (StatusCode::PAYLOAD_TOO_LARGE, _) => return Fault::TooMuch(format!("it answered {status}{said}")),
            _ => format!("it answered {status}{said}"),
        })
    }

    fn hide(&self, text: &str) -> String {
        self.key
            .as_ref()
            .map_or_else(|| text.to_owned(), |key| key.hidden_in(text))
    }

    /// Returns what a provider answered, on one line, short, without the key.
    fn quote(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        // The usual form of an error is {"error": {"message": ...}}; the message is for people.
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
            Self::Passing { why, .. } | Self::Unusable(why) | Self::TooMuch(why) | Self::Lasting(why) => why,
        }
    }
}

/// Returns what a refusal is about: its message and the parameter it names, not what it repeats of the request.
fn reason(said: &[u8]) -> String {
    let error = serde_json::from_slice::<Value>(said)
        .ok()
        .and_then(|json| json.get("error").or_else(|| json.get("detail")).cloned());
    match error {
        Some(Value::Object(fields)) => ["message", "param", "code"]
            .iter()
            .filter_map(|key| Some(format!("{} ", fields.get(*key)?)))
            .collect(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(said).into_owned(),
    }
}

/// Returns a quote behind a colon; nothing without one.
fn colon(quote: &str) -> String {
    match quote {
        "" => String::new(),
        quote => format!(": {quote}"),
    }
}

/// Returns the wait that a `Retry-After` header names, in seconds or as a date.
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
