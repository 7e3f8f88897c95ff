//! The address guard: the one kind of HTTP client that the daemon's requests leave by, callbacks and downloads of inputs,
//! and the check of a URL before that (C5).
//!
//! A URL with an address in it is judged by [`SsrfGuard::check_url`], because the client never asks its resolver about one.
//! A name is judged when it is resolved for the very connection that is made, so that a name which points elsewhere
//! tomorrow gains nothing. Redirects and proxies, which would dial for themselves, are not followed.

mod ranges;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

pub use ranges::is_public;
use ranges::not_public;

/// In characters.
const URL_MAX: usize = 2048;
/// One attempt, from the connection to the end of the answer (C4).
const ATTEMPT_WAIT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("Onceover/", env!("CARGO_PKG_VERSION"));

/// An entry of an allow list that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{setting}: {entry:?} is not an address range (192.168.0.0/16), an address (192.168.1.20) or a host name (n8n.lan)"
)]
pub struct BadEntry {
    setting: &'static str,
    pub entry: String,
}

/// A name that leads to addresses which may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} leads to {ip}, which is {what}; to allow it, set `{setting} = [\"{name}\"]`")]
pub struct Refused {
    pub name: String,
    pub ip: IpAddr,
    what: &'static str,
    setting: &'static str,
}

/// Whose URLs a guard judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Callback,
    Input,
}

impl Purpose {
    /// The setting that allows more.
    fn setting(self) -> &'static str {
        match self {
            Self::Callback => "callbacks.allow",
            Self::Input => "inputs.allow",
        }
    }

    fn url(self) -> &'static str {
        match self {
            Self::Callback => "a callback URL",
            Self::Input => "the URL of an input",
        }
    }
}

/// Decides which URLs may be called. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SsrfGuard {
    purpose: Purpose,
    allow: Arc<Allow>,
}

/// What the operator allows beyond the public internet.
#[derive(Debug, Default)]
struct Allow {
    nets: Vec<IpNet>,
    /// Lower case, ASCII, without a trailing dot.
    names: HashSet<String>,
}

impl SsrfGuard {
    /// Takes an allow list: ranges, addresses and host names.
    pub fn new(purpose: Purpose, allow: &[String]) -> Result<Self, BadEntry> {
        let setting = purpose.setting();
        let mut known = Allow::default();
        for entry in allow {
            let text = entry.trim();
            if let Ok(net) = text.parse::<IpNet>() {
                known.nets.push(net.trunc());
            } else if let Ok(ip) = text.parse::<IpAddr>() {
                known.nets.push(ip.into());
            } else {
                match Host::parse(text) {
                    Ok(Host::Domain(name)) if is_host_name(&name) => known.names.insert(plain(&name)),
                    _ => {
                        return Err(BadEntry {
                            setting,
                            entry: entry.clone(),
                        });
                    }
                };
            }
        }
        Ok(Self {
            purpose,
            allow: Arc::new(known),
        })
    }

    /// Checks what a URL shows before any name is resolved: at submit, and again before each attempt.
    /// Returns it as it will be called; the error is a sentence for the client that sent it.
    pub fn check_url(&self, text: &str) -> Result<Url, String> {
        let what = self.purpose.url();
        if text.chars().count() > URL_MAX {
            return Err(format!("{what} has at most {URL_MAX} characters"));
        }
        let url = Url::parse(text).map_err(|error| format!("not a URL ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "{what} begins with http:// or https://, not with {}:",
                url.scheme()
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{what} holds no user name or password"));
        }
        match url.host() {
            None => return Err(format!("{what} names a host")),
            Some(Host::Ipv4(ip)) => self.check_ip(ip.into())?,
            Some(Host::Ipv6(ip)) => self.check_ip(ip.into())?,
            Some(Host::Domain(name)) => {
                if !is_host_name(name) {
                    return Err(format!(
                        "{what} names a host, and that one is no host name (letters, digits, '-' and '_' in parts of 1 to 63, 253 \
                         in all)"
                    ));
                }
                let name = plain(name);
                let own = name == "localhost" || name.ends_with(".localhost");
                if own && !self.allow.names.contains(&name) && !self.allows(Ipv4Addr::LOCALHOST.into()) {
                    return Err(format!(
                        "{name} is the daemon's own machine; to allow it, set `{} = [\"{name}\"]`",
                        self.purpose.setting()
                    ));
                }
            }
        }
        Ok(url)
    }

    /// The client every delivery and download goes through. On a machine without certificates it still serves plain http.
    pub fn client(&self) -> reqwest::Result<reqwest::Client> {
        let builder = || {
            reqwest::Client::builder()
                .dns_resolver(Arc::new(GuardedResolver(self.clone())))
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                // Receivers close connections that are idle whenever they like, also as the next request is on its way.
                .pool_max_idle_per_host(0)
                .timeout(ATTEMPT_WAIT)
                .user_agent(USER_AGENT)
        };
        builder().build().or_else(|error| {
            tracing::warn!("callbacks and downloads over https will fail, install ca-certificates: {error:?}");
            builder().tls_certs_only([]).build()
        })
    }

    fn check_ip(&self, ip: IpAddr) -> Result<(), String> {
        match not_public(ip) {
            Some(found) if !self.allows(ip) => Err(format!(
                "{} is {}; to allow it, set `{} = [\"{}\"]`",
                ip.to_canonical(),
                found.what,
                self.purpose.setting(),
                found.allow
            )),
            _ => Ok(()),
        }
    }

    fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow.nets.iter().any(|net| net.contains(&ip))
    }

    /// Of the addresses a name has, those that may be called; an error where there is none.
    fn filter(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        if self.allow.names.contains(&plain(name)) {
            return Ok(found);
        }
        let refused = |address: &SocketAddr| not_public(address.ip()).filter(|_| !self.allows(address.ip()));
        let (bad, good): (Vec<_>, Vec<_>) = found.into_iter().partition(|address| refused(address).is_some());
        match bad
            .first()
            .and_then(|address| Some((address.ip().to_canonical(), refused(address)?.what)))
        {
            Some((ip, what)) if good.is_empty() => Err(Refused {
                name: plain(name),
                ip,
                what,
                setting: self.purpose.setting(),
            }),
            _ => Ok(good),
        }
    }
}

/// The refusal behind a failed request, if that is why it failed.
pub fn refusal(error: &reqwest::Error) -> Option<&Refused> {
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        if let Some(refused) = cause.downcast_ref() {
            return Some(refused);
        }
        next = cause.source();
    }
    None
}

/// Asks the system's resolver, and keeps what the guard lets through.
struct GuardedResolver(SsrfGuard);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses: Addrs = Box::new(guard.filter(name.as_str(), found)?.into_iter());
            Ok(addresses)
        })
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Narrower than what URLs put up with, so that a slip in the configuration is an error and not a name nobody has.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}
