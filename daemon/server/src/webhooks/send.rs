//! One try of a delivery: the request, and what its answer means.

use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use onceover_types::{Timestamp, humane};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};

use super::sign::Secrets;
use crate::ssrf_guard::refusal;
use onceover_limits::Limit;
use onceover_store::{Contact, Delivery};

/// What a try came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackAnswer {
    /// 2xx.
    Accepted { status: u16 },
    /// Anything else, also no answer at all.
    Refused {
        status: Option<u16>,
        /// In words; never anything of the answer's body, which callers of the API have no business with.
        detail: String,
        /// How long the receiver asks to be left alone.
        wait: Option<Duration>,
        /// The receiver wants none of it, ever (410).
        gone: bool,
        /// Whether the receiver is there.
        contact: Contact,
    },
}

impl CallbackAnswer {
    /// Not even asked.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::without_answer(detail, Contact::NotAsked)
    }

    fn without_answer(detail: impl Into<String>, contact: Contact) -> Self {
        Self::Refused {
            status: None,
            detail: detail.into(),
            wait: None,
            gone: false,
            contact,
        }
    }
}

/// What is read of an answer's body, so that its receiver is not cut off while it writes.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// How long that may take.
const BODY_WAIT: Duration = Duration::from_secs(2);
/// The longest wait a receiver may ask for.
pub const WAIT_LIMIT: Duration = Duration::from_secs(3600);
/// How much of a reason is kept for people to read.
const DETAIL_LIMIT: usize = 300;

/// Takes deliveries to their receivers.
pub trait Courier: Send + Sync {
    /// Tries a delivery once.
    fn send<'a>(&'a self, delivery: &'a Delivery, body: String) -> BoxFuture<'a, CallbackAnswer>;
}

/// Sends deliveries over HTTP, signed.
pub struct HttpCourier {
    pub client: reqwest::Client,
    pub secrets: Secrets,
    /// Limit of one try.
    pub timeout: Duration,
}

impl Courier for HttpCourier {
    fn send<'a>(&'a self, delivery: &'a Delivery, body: String) -> BoxFuture<'a, CallbackAnswer> {
        Box::pin(send(&self.client, &self.secrets, self.timeout, delivery, body))
    }
}

/// Sends a delivery once, within `limit`.
async fn send(
    client: &reqwest::Client,
    secrets: &Secrets,
    limit: Duration,
    delivery: &Delivery,
    body: String,
) -> CallbackAnswer {
    let timestamp = Timestamp::now().as_millis() / 1000;
    let mut request = client
        .post(&delivery.url)
        .timeout(limit)
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", &delivery.id)
        .header("webhook-timestamp", timestamp.to_string());
    if let Some(signature) = secrets.signature(&delivery.id, timestamp, &body) {
        request = request.header("webhook-signature", signature);
    }
    match request.body(body).send().await {
        Ok(response) => {
            let answer = meaning(response.status(), response.headers(), SystemTime::now());
            let _ = tokio::time::timeout(BODY_WAIT, discard(response)).await;
            answer
        }
        Err(error) if error.is_timeout() => {
            Limit::CallbackTime.reached();
            CallbackAnswer::without_answer(format!("no answer within {}", humane::duration(limit)), Contact::Silent)
        }
        // A URL can hold secrets.
        Err(error) => {
            let error = error.without_url();
            match refusal(&error) {
                Some(refused) => CallbackAnswer::failed(refused.to_string()),
                None => CallbackAnswer::without_answer(causes(&error), Contact::Silent),
            }
        }
    }
}

/// Reads the body as far as it is bearable.
async fn discard(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read >= BODY_LIMIT {
            Limit::CallbackAnswer.reached();
            return;
        }
    }
}

fn meaning(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> CallbackAnswer {
    let code = status.as_u16();
    if status.is_success() {
        return CallbackAnswer::Accepted { status: code };
    }
    let wait = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| retry_after(text, now));
    let detail = match (status, wait) {
        (StatusCode::GONE, _) => format!("answered {status}: it wants no more of this"),
        (_, Some(wait)) => format!("answered {status}, to be tried again after {}", humane::duration(wait)),
        _ if status.is_redirection() => format!("answered {status}; redirects are not followed"),
        _ => format!("answered {status}"),
    };
    CallbackAnswer::Refused {
        status: Some(code),
        detail,
        wait,
        gone: status == StatusCode::GONE,
        contact: Contact::Answered,
    }
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number has are longer than an hour, too.
        text.parse().map_or(WAIT_LIMIT, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(WAIT_LIMIT))
}

/// The whole chain of an error: the reason a connection was refused is at its end.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    onceover_types::causes(error).chars().take(DETAIL_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_retry_after_is_read_as_seconds_and_as_a_date_and_has_a_limit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("3600", Some(3600)),
            ("86400", Some(3600)),
            ("99999999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:50:07 GMT", Some(30)),
            ("Sun Nov  6 08:50:07 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:00:00 GMT", Some(3600)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn c4_only_2xx_is_success_and_410_is_final() {
        let answer = |code: u16| {
            meaning(
                StatusCode::from_u16(code).unwrap(),
                &HeaderMap::new(),
                SystemTime::now(),
            )
        };
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(answer(code), CallbackAnswer::Accepted { status: code });
        }
        for code in [301, 304, 307, 400, 404, 410, 429, 500, 502, 503, 504] {
            match answer(code) {
                CallbackAnswer::Refused { status, gone, .. } => {
                    assert_eq!((status, gone), (Some(code), code == 410));
                }
                CallbackAnswer::Accepted { .. } => panic!("{code} is no success"),
            }
        }
    }
}
