//! Addresses of daemons as people write them: `127.0.0.1:8788`, `box`, `https://box/onceover/`.

use reqwest::Url;

/// The port of an address that names neither port nor scheme.
pub const PORT: u16 = 8788;

/// Why an address names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address is empty; give HOST:PORT or http://HOST:PORT")]
    Empty,
    #[error("'{0}' is no address of a daemon; give HOST:PORT or http://HOST:PORT")]
    Unreadable(String),
    #[error("a daemon speaks http or https, not {0}; give HOST:PORT or http://HOST:PORT")]
    Scheme(String),
    #[error("an address of a daemon has neither user nor query; its token is given with ONCEOVER_TOKEN")]
    TooMuch,
}

/// Returns the URL that paths of the API are added to, without a slash at its end.
pub fn base_url(text: &str) -> Result<String, AddressError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let unreadable = || AddressError::Unreadable(text.to_owned());
    let url = match text.split_once("://") {
        Some(_) => Url::parse(text).map_err(|_| unreadable())?,
        None => without_scheme(text).ok_or_else(unreadable)?,
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(AddressError::TooMuch);
    }
    let base = url.as_str().trim_end_matches('/');
    // The address may be copied from a request of the API.
    Ok(base.strip_suffix("/v1").unwrap_or(base).to_owned())
}

/// Reads `HOST`, `HOST:PORT` and the same with a path; an IPv6 address also without its brackets.
fn without_scheme(text: &str) -> Option<Url> {
    let bare = text.parse::<std::net::Ipv6Addr>().map(|ip| format!("[{ip}]"));
    let mut url = Url::parse(&format!("http://{}", bare.as_deref().unwrap_or(text))).ok()?;
    let authority = text.split('/').next().unwrap_or_default();
    let names_port = bare.is_err() && authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    if !names_port {
        url.set_port(Some(PORT)).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (written, base) in [
            ("http://127.0.0.1:8788", "http://127.0.0.1:8788"),
            ("127.0.0.1:1", "http://127.0.0.1:1"),
            (" localhost:80/ ", "http://localhost"),
            ("box", "http://box:8788"),
            ("::1", "http://[::1]:8788"),
            ("[::1]:5", "http://[::1]:5"),
            ("HTTP://127.0.0.1:5/", "http://127.0.0.1:5"),
            ("https://box/onceover/", "https://box/onceover"),
            ("http://127.0.0.1:5/v1/", "http://127.0.0.1:5"),
            ("box:5/onceover", "http://box:5/onceover"),
        ] {
            assert_eq!(base_url(written).as_deref(), Ok(base), "{written}");
        }
    }

    #[test]
    fn what_names_no_daemon_is_refused_with_what_would() {
        for wrong in [
            "",
            "  ",
            "ftp://x",
            "http://",
            "a b",
            "http://user:word@x",
            "x:y",
            "http://x?a=1",
        ] {
            let error = base_url(wrong).unwrap_err().to_string();
            assert!(!error.contains("word@"), "{error}");
        }
    }
}
