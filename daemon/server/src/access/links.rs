//! Signed links: URLs that open one path for reading, for a while, without a token. They are for what cannot send a header:
//! `EventSource`, `<a href>`, a player, a download manager. A link says nothing about who made it, and no link makes others.
//!
//! The key is a secret in Redis, so that every daemon of one Redis accepts the links of the others. Anyone who can read
//! Redis can read everything that a link could open.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::http::{Uri, uri::PathAndQuery};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use onceover_types::{Problem, ProblemKind, Timestamp};
use sha2::Sha256;
use url::form_urlencoded;

use crate::services::ServiceError;
use onceover_store::Store;

/// The two parameters of a link; no endpoint has one of these names.
const EXPIRES: &str = "expires";
const SIGNATURE: &str = "signature";
/// Parameters that say where to begin to read and open nothing more, so that a reader who goes on needs no other link.
const UNSIGNED: [&str; 2] = ["last_event_id", "from"];
/// What a signature is over, beside the link itself: nothing else that is ever signed with the key can be taken for one.
const PURPOSE: &str = "onceover link 1";
/// How long a key is taken for the one in Redis. Redis may have been emptied, and another daemon have made a new one.
const KEY_FRESH: Duration = Duration::from_secs(60);

/// The secret that links are signed with. It is shown nowhere.
#[derive(Clone)]
pub struct LinkKey(Arc<str>);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

impl From<String> for LinkKey {
    fn from(secret: String) -> Self {
        Self(secret.into())
    }
}

impl LinkKey {
    /// HMAC-SHA256 over the method class, the path, the query that matters and the end. None of the four has a line break.
    fn mac(&self, path: &str, query: Option<&str>, expires: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        let query = signed_query(query);
        mac.update(format!("{PURPOSE}\nGET\n{path}\n{query}\n{expires}").as_bytes());
        mac
    }

    /// The link to a path with its query, if any.
    fn sign(&self, target: &str, expires: u64) -> String {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.mac(path, query, expires).finalize().into_bytes());
        let joint = if query.is_some() { '&' } else { '?' };
        format!("{target}{joint}{EXPIRES}={expires}&{SIGNATURE}={signature}")
    }

    /// Takes the same time wherever a signature differs.
    fn check(&self, uri: &Uri, proof: &LinkProof, now: u64) -> Result<(), LinkRefusal> {
        let expires = proof.expires.ok_or(LinkRefusal::Wrong)?;
        let mac = self.mac(uri.path(), uri.query(), expires);
        mac.verify_slice(&proof.signature).map_err(|_| LinkRefusal::Wrong)?;
        if expires <= now {
            return Err(LinkRefusal::Expired(expires));
        }
        Ok(())
    }
}

/// Why a link opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkRefusal {
    /// The signature is not that of the path, the query and the end.
    Wrong,
    /// It was right until then, in seconds since 1970.
    Expired(u64),
}

impl From<LinkRefusal> for Problem {
    fn from(refusal: LinkRefusal) -> Self {
        match refusal {
            LinkRefusal::Wrong => Self::new(
                ProblemKind::Unauthorized,
                "the signature of this link does not fit its path, its query and its end; links are taken as they are, from \
                 GET /v1/links?path=...",
            ),
            LinkRefusal::Expired(expires) => {
                let expires = Timestamp::from_millis(i64::try_from(expires).unwrap_or(0).saturating_mul(1000));
                Self::new(
                    ProblemKind::LinkExpired,
                    format!(
                        "this link was good until {expires}; ask for a new one with GET /v1/links?path=... and a token"
                    ),
                )
            }
        }
    }
}

/// Decoded pairs of a query.
fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned()
}

/// The part of a query that a signature is over, in one spelling and order.
fn signed_query(query: Option<&str>) -> String {
    let matters =
        |(name, _): &(String, String)| ![EXPIRES, SIGNATURE].contains(&&**name) && !UNSIGNED.contains(&&**name);
    let mut signed: Vec<_> = pairs(query.unwrap_or_default()).filter(matters).collect();
    signed.sort();
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(signed)
        .finish()
}

/// Whether a query has a parameter of a link.
pub fn has_proof(query: &str) -> bool {
    pairs(query).any(|(name, _)| [EXPIRES, SIGNATURE].contains(&&*name))
}

/// What a request's query says to prove that its link was made here.
#[derive(Debug)]
pub struct LinkProof {
    expires: Option<u64>,
    signature: Vec<u8>,
}

impl LinkProof {
    /// The proof in a request's query; None where the request is no link.
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        let query = uri.query().filter(|query| query.contains(SIGNATURE))?;
        let value = |wanted: &str| pairs(query).find(|(name, _)| name == wanted).map(|(_, value)| value);
        let signature = value(SIGNATURE)?;
        Some(Self {
            expires: value(EXPIRES).and_then(|text| text.parse().ok()),
            signature: BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap_or_default(),
        })
    }
}

/// The same URI without the parameters of a link, as its endpoint knows it.
pub fn without_proof(uri: &Uri) -> Uri {
    let kept = |pair: &&str| !pairs(pair).any(|(name, _)| [EXPIRES, SIGNATURE].contains(&&*name));
    let query: Vec<_> = uri.query().unwrap_or_default().split('&').filter(kept).collect();
    let mut target = uri.path().to_owned();
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.join("&"));
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Makes links and knows those that were made. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    store: Store,
    /// False where no token is needed, so that no link needs a signature.
    needed: bool,
    /// How long a link is good for that does not open a file.
    pub lifetime: Duration,
    key: Arc<Mutex<Option<(Instant, LinkKey)>>>,
}

impl Links {
    pub fn new(store: Store, needed: bool, lifetime: Duration) -> Self {
        Self {
            store,
            needed,
            lifetime,
            key: Arc::default(),
        }
    }

    /// A link to a path with its query, and until when it is good; forever and unsigned where no token is needed.
    pub async fn make(&self, target: &str, lifetime: Duration) -> Result<(String, Option<Timestamp>), ServiceError> {
        if !self.needed {
            return Ok((target.to_owned(), None));
        }
        let key = self.key().await?;
        let end = Timestamp::now().plus(lifetime).as_millis().max(0).unsigned_abs() / 1000;
        let until = Timestamp::from_millis(i64::try_from(end * 1000).unwrap_or(i64::MAX));
        Ok((key.sign(target, end), Some(until)))
    }

    /// Refuses a link that was not made by a daemon of this Redis, or has expired.
    pub async fn check(&self, uri: &Uri, proof: &LinkProof) -> Result<(), LinkError> {
        let key = self.key().await?;
        let now = Timestamp::now().as_millis().max(0).unsigned_abs() / 1000;
        key.check(uri, proof, now)
            .map_err(|refusal| LinkError::Refused(refusal.into()))
    }

    async fn key(&self) -> Result<LinkKey, ServiceError> {
        let known = self.key.lock().expect("no thread panics with the key").clone();
        if let Some((read, key)) = &known
            && read.elapsed() < KEY_FRESH
        {
            return Ok(key.clone());
        }
        match self.store.link_secret().await {
            Ok(secret) => {
                let key = LinkKey::from(secret);
                *self.key.lock().expect("no thread panics with the key") = Some((Instant::now(), key.clone()));
                Ok(key)
            }
            // Redis is not available: the one that was there is the best that is known.
            Err(error) => known.map(|(_, key)| key).ok_or_else(|| error.into()),
        }
    }
}

/// Why a request by a link is not answered.
#[derive(Debug)]
pub enum LinkError {
    Refused(Problem),
    /// The key could not be read.
    NoKey(ServiceError),
}

impl From<ServiceError> for LinkError {
    fn from(error: ServiceError) -> Self {
        Self::NoKey(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 2_000_000_000;

    fn key() -> LinkKey {
        LinkKey::from("a secret of the test".to_owned())
    }

    fn judge(link: &str, now: u64) -> Result<(), LinkRefusal> {
        let uri: Uri = link.parse().unwrap();
        let proof = LinkProof::of_uri(&uri).expect("a link");
        key().check(&uri, &proof, now)
    }

    #[test]
    fn a_link_opens_its_path_with_its_query_until_its_end() {
        for target in [
            "/v1/events",
            "/v1/files/download/t1/in/my%20clip.mp4?bucket=films",
            "/v1/tasks/t1/stages/test.echo/log?follow=true&from=0",
            "/v1/tasks?search=a%26b%3Dc&limit=5",
        ] {
            let link = key().sign(target, END);
            assert_eq!(judge(&link, END - 1), Ok(()), "{link}");
            assert_eq!(judge(&link, END), Err(LinkRefusal::Expired(END)), "{link}");
        }
        // Where to begin to read is not signed, and neither order nor spelling of the rest matters.
        let link = key().sign("/v1/events", END);
        assert_eq!(judge(&format!("{link}&last_event_id=42"), 0), Ok(()));
        let link = key().sign("/x?a=1%20&b=2", END);
        let (_, proof) = link.split_once("&expires").unwrap();
        assert_eq!(judge(&format!("/x?b=2&a=1+&expires{proof}"), 0), Ok(()));
    }

    #[test]
    fn nothing_else_is_opened_by_it() {
        let link = key().sign("/v1/files/download/a?bucket=films", END);
        let (start, signature) = link.split_once("signature=").unwrap();
        let mut other = signature.to_owned();
        let flipped = if other.starts_with('A') { "B" } else { "A" };
        other.replace_range(..1, flipped);
        for changed in [
            link.replace("/download/a", "/download/b"),
            link.replace("/v1/files/download/a", "/v1/files/download/a/"),
            link.replace("/v1/files/download/a", "/v1/files/download/%61"),
            link.replace("bucket=films", "bucket=other"),
            link.replace("bucket=films&", ""),
            link.replace("bucket=films", "bucket=films&bucket=other"),
            link.replace("2000000000", "2000000001"),
            link.replace("2000000000", "02000000000x"),
            link.replace("2000000000", ""),
            link.replace("expires=2000000000", "expires=2000000001&expires=2000000000"),
            format!("{link}&limit=5"),
            format!("{start}signature={other}"),
            format!("{start}signature="),
            format!("{start}signature={}", &signature[..20]),
            format!("{start}signature=%00"),
            format!("{start}signature={signature}A"),
            link.replace("films&", "films%26"),
        ] {
            assert_ne!(changed, link);
            assert_eq!(judge(&changed, 0), Err(LinkRefusal::Wrong), "{changed}");
        }
        let of_another = LinkKey::from("another secret".to_owned()).sign("/v1/events", END);
        assert_eq!(judge(&of_another, 0), Err(LinkRefusal::Wrong));
        assert!(LinkProof::of_uri(&"/v1/events?expires=5".parse().unwrap()).is_none());
        assert!(!format!("{:?}", key()).contains("secret"));
    }

    #[test]
    fn an_endpoint_does_not_see_what_proves_a_link() {
        for (given, seen) in [
            ("/a?expires=1&signature=x", "/a"),
            ("/a?b=1%26&expires=1&c=2&signature=x", "/a?b=1%26&c=2"),
            ("/a?%65xpires=1&s%69gnature=x&b", "/a?b"),
            ("/a?b=expires", "/a?b=expires"),
            ("http://box.lan/a?signature=x", "http://box.lan/a"),
        ] {
            assert_eq!(without_proof(&given.parse().unwrap()).to_string(), seen, "{given}");
        }
    }
}
