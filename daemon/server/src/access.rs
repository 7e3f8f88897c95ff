//! Who may call the API: bearer tokens with a scope, kept as hashes only, and the host names it answers to.

pub mod links;

use std::{
    fmt,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use onceover_types::text_file::without_mark;
use subtle::{Choice, ConstantTimeEq};

use crate::config::AccessConfig;
use onceover_process::environment;

/// Tokens beside the file's: `admin:<token> read:<token>`, blank-separated.
pub const TOKENS_VARIABLE: &str = "ONCEOVER_TOKENS";
/// Shorter tokens can be guessed.
const SHORT: usize = 16;
/// Marks a token that is given as its hash.
const HASHED: &str = "blake3:";

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read everything, change nothing.
    Read,
    /// Everything.
    Admin,
}

impl Scope {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => Some(Self::Read),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the tokens or the address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("access.tokens_file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{origin}: {message}; a token is given as '{form}', scope read or admin, or as its hash, '{hashed}'")]
    Token {
        origin: String,
        message: String,
        form: &'static str,
        hashed: &'static str,
    },
    #[error("listen: '{listen}' is no address that can be listened on: {source}")]
    Address { listen: String, source: std::io::Error },
    #[error(
        "{listen} can be reached from other machines, and no token is configured: anybody could run programs here. \
         Put a line `admin <token>` into a file (make one with: openssl rand -hex 32) and name it in the configuration as \
         access.tokens_file, or set {TOKENS_VARIABLE}=admin:<token>, or listen on 127.0.0.1"
    )]
    Open { listen: String },
}

/// The configured tokens. Without any, every client that reaches the address may do everything.
#[derive(Clone, Default)]
pub struct Tokens {
    hashes: Vec<(Scope, [u8; 32])>,
    /// Where tokens came from that are short enough to be guessed.
    short: Vec<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.hashes.len())
    }
}

impl Tokens {
    /// Reads the configured file and the environment.
    pub fn load(config: &AccessConfig) -> Result<Self, AccessError> {
        let mut tokens = Self::default();
        if let Some(path) = &config.tokens_file {
            let text = std::fs::read_to_string(path).map_err(|source| AccessError::Read {
                path: path.clone(),
                source,
            })?;
            tokens.add_file(path, without_mark(&text))?;
        }
        if let Some(text) = environment::var(TOKENS_VARIABLE) {
            tokens.add_variable(&text)?;
        }
        Ok(tokens)
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), AccessError> {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let origin = format!("access.tokens_file {} line {}", path.display(), number + 1);
            let (scope, token) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            self.add(scope, token.trim(), origin, "<scope> <token>")?;
        }
        Ok(())
    }

    fn add_variable(&mut self, text: &str) -> Result<(), AccessError> {
        for (number, entry) in text.split_whitespace().enumerate() {
            let origin = format!("{TOKENS_VARIABLE}, entry {}", number + 1);
            let (scope, token) = entry.split_once(':').unwrap_or((entry, ""));
            self.add(scope, token, origin, "<scope>:<token>")?;
        }
        Ok(())
    }

    /// An error never repeats what was given: it can be a token.
    fn add(&mut self, scope: &str, token: &str, origin: String, form: &'static str) -> Result<(), AccessError> {
        let refuse = |message: &str| AccessError::Token {
            origin: origin.clone(),
            message: message.into(),
            form,
            hashed: "blake3:<64 hexadecimal digits>",
        };
        let scope = Scope::parse(scope).ok_or_else(|| refuse("the scope is neither read nor admin"))?;
        let hash = match token.strip_prefix(HASHED) {
            Some(hex) => blake3::Hash::from_hex(hex).map_err(|_| refuse("the hash is not 64 hexadecimal digits"))?,
            None if token.is_empty() => return Err(refuse("there is no token")),
            None if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(refuse("a token is one word of visible ASCII characters"));
            }
            None => {
                if token.len() < SHORT {
                    self.short.push(origin);
                }
                blake3::hash(token.as_bytes())
            }
        };
        self.hashes.push((scope, *hash.as_bytes()));
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// What to tell the operator although it works.
    pub fn warnings(&self) -> Vec<String> {
        let short = self.short.iter();
        short
            .map(|origin| format!("{origin}: the token has fewer than {SHORT} characters and can be guessed"))
            .collect()
    }

    /// Scope of a token as a caller sent it. Takes the same time whichever token it is, or none.
    pub fn scope(&self, token: &str) -> Option<Scope> {
        let given = blake3::hash(token.as_bytes());
        let (mut read, mut admin) = (Choice::from(0), Choice::from(0));
        for (scope, hash) in &self.hashes {
            let equal = given.as_bytes().ct_eq(hash);
            match scope {
                Scope::Read => read |= equal,
                Scope::Admin => admin |= equal,
            }
        }
        if admin.into() {
            Some(Scope::Admin)
        } else if read.into() {
            Some(Scope::Read)
        } else {
            None
        }
    }
}

/// Whether an address can be reached from this machine alone.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether a listen address, a name perhaps, is one of this machine alone.
pub fn listens_on_loopback(listen: &str) -> Result<bool, AccessError> {
    let error = |source| AccessError::Address {
        listen: listen.into(),
        source,
    };
    let addresses: Vec<_> = listen.to_socket_addrs().map_err(error)?.collect();
    Ok(!addresses.is_empty() && addresses.iter().all(is_loopback))
}

/// Refuses an address that others can reach while nobody has to show a token.
pub fn check(listen: &str, tokens: &Tokens) -> Result<(), AccessError> {
    if tokens.is_empty() && !listens_on_loopback(listen)? {
        return Err(AccessError::Open { listen: listen.into() });
    }
    Ok(())
}

/// Host names the API answers to. A page in a browser can point its own name at 127.0.0.1 (DNS rebinding); it
/// cannot choose what the browser then sends as `Host`.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// Only on loopback: elsewhere a token is needed, which such a page does not have.
    checked: bool,
    more: Vec<String>,
}

impl Hosts {
    pub fn new(loopback: bool, more: &[String]) -> Self {
        Self {
            checked: loopback,
            more: more.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    /// Whether a `Host` header names this daemon.
    pub fn answers_to(&self, host: &str) -> bool {
        if !self.checked {
            return true;
        }
        let name = host_name(host);
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback) || self.has_name(name)
    }

    /// Whether a request from a page of this origin may change something.
    pub fn trusts(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((_, authority)) = origin.split_once("://") else {
            return false;
        };
        host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) || self.has_name(host_name(authority))
    }

    fn has_name(&self, name: &str) -> bool {
        self.more.iter().any(|more| more.eq_ignore_ascii_case(name))
    }
}

/// The host of `host[:port]`, without the brackets of an IPv6 address.
fn host_name(authority: &str) -> &str {
    let name = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn tokens(file: &str, variable: &str) -> Result<Tokens, String> {
        let mut tokens = Tokens::default();
        let read = |tokens: &mut Tokens| {
            tokens.add_file(Path::new("tokens"), file)?;
            tokens.add_variable(variable)
        };
        read(&mut tokens).map_err(|error| error.to_string())?;
        Ok(tokens)
    }

    #[test]
    fn req27_tokens_come_from_file_and_environment_plain_or_hashed() {
        let hash = blake3::hash(b"third-token-of-all").to_hex();
        let file = format!("# for n8n\n\nread  first-token-of-all\nadmin blake3:{hash}\n");
        let tokens = tokens(&file, "admin:second-token-of-all read:x").unwrap();
        assert_eq!(tokens.scope("first-token-of-all"), Some(Scope::Read));
        assert_eq!(tokens.scope("second-token-of-all"), Some(Scope::Admin));
        assert_eq!(tokens.scope("third-token-of-all"), Some(Scope::Admin));
        for wrong in ["", "first-token-of-al", hash.as_str(), &format!("blake3:{hash}")] {
            assert_eq!(tokens.scope(wrong), None, "{wrong}");
        }
        assert_eq!(tokens.warnings().len(), 1, "the token x");
        assert!(!format!("{tokens:?}").contains("token-of"), "only hashes are kept");
    }

    #[test]
    fn req27_a_wrong_line_is_named_and_its_token_is_not_repeated() {
        for (file, variable, place) in [
            ("read a\nwrite hush-hush", "", "line 2"),
            ("hush-hush", "", "line 1"),
            ("admin hush hush", "", "line 1"),
            ("admin blake3:hush-hush", "", "line 1"),
            ("admin", "", "line 1"),
            ("", "read:a hush-hush", "entry 2"),
        ] {
            let error = tokens(file, variable).unwrap_err();
            assert!(error.contains(place) && error.contains("read or admin"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn req27_off_loopback_a_token_is_needed() {
        let none = Tokens::default();
        for listen in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "localhost:1",
        ] {
            assert!(check(listen, &none).is_ok(), "{listen}");
        }
        for listen in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "8.8.8.8:1"] {
            let error = check(listen, &none).unwrap_err().to_string();
            assert!(
                error.contains(listen) && error.contains("access.tokens_file"),
                "{error}"
            );
            assert!(check(listen, &tokens("", "read:a").unwrap()).is_ok());
        }
        assert!(matches!(check("nonsense", &none), Err(AccessError::Address { .. })));
    }

    #[test]
    fn req27_hosts_and_origins() {
        let hosts = Hosts::new(true, &["Box.lan".into()]);
        for good in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8788",
            "127.1.2.3",
            "[::1]:80",
            "[::1]",
            "box.lan:9",
        ] {
            assert!(hosts.answers_to(good), "{good}");
        }
        for bad in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "[::2]:1",
            "",
        ] {
            assert!(!hosts.answers_to(bad), "{bad}");
        }
        assert!(Hosts::new(false, &[]).answers_to("anything"));
        let host = Some("127.0.0.1:8788");
        assert!(hosts.trusts("http://127.0.0.1:8788", host));
        assert!(
            hosts.trusts("https://box.lan", host),
            "a proxy in front that sends another Host"
        );
        for bad in ["http://127.0.0.1:3000", "https://evil.example", "null", "", "http://"] {
            assert!(!hosts.trusts(bad, host), "{bad}");
        }
        assert!(!hosts.trusts("http://127.0.0.1:8788", None));
    }

    /// A comparison that stops at the first difference is told apart by nanoseconds per byte; this one must not be
    /// told apart by the position of the difference, with a wide margin for a busy machine.
    #[test]
    fn req27_comparing_takes_the_same_time_wherever_a_token_differs() {
        let secret = "0123456789abcdef0123456789abcdef";
        let tokens = tokens("", &format!("admin:{secret}")).unwrap();
        let candidates = [
            "x123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcdex",
            secret,
        ];
        let mut best = [Duration::MAX; 3];
        for _ in 0..200 {
            for (candidate, best) in candidates.iter().zip(&mut best) {
                let start = Instant::now();
                for _ in 0..50 {
                    std::hint::black_box(tokens.scope(std::hint::black_box(candidate)));
                }
                *best = start.elapsed().min(*best);
            }
        }
        let (least, most) = (best.iter().min().unwrap(), best.iter().max().unwrap());
        assert!(most.as_secs_f64() <= least.as_secs_f64() * 1.5, "{best:?}");
    }
}
