//! Where the broker and the results are: URLs as Celery takes them, read without ever showing a password.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// How a password with special characters is written.
const PERCENT: &str = "special characters of a user or password are percent-encoded there: '#' is %23, '@' %40, '/' \
                       %2F, ':' %3A, '%' %25";
/// How a URL looks.
const SHAPES: &str = "redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://... (TLS), redis+socket:///PATH?virtual_host=DATABASE, or \
                      sentinel://HOST:PORT/DATABASE;sentinel://...?master_name=NAME";
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// A URL names no server that can be used. The text quotes nothing of the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` cannot be used: {reason}")]
pub struct BrokerUrlError {
    /// The setting, `broker` or `results`.
    pub setting: &'static str,
    /// Why, and what to do.
    pub reason: String,
}

/// Where a service's workers take messages from and leave results, in the words of Celery's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerSettings {
    /// Celery's `broker_url`. Several Sentinels are separated by `;`. What Celery takes as transport options is a part
    /// of the query here: `master_name`, `sentinel_username`, `sentinel_password`, `global_keyprefix`; TLS is named as
    /// in Celery's URLs, with `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`.
    pub(crate) broker: RedisEndpoint,
    /// Celery's `result_backend`. None: only events say how a message ended.
    pub(crate) results: Option<RedisEndpoint>,
}

impl BrokerSettings {
    /// Reads both URLs. What cannot be a broker here, as RabbitMQ, is refused with its reason.
    pub fn parse(broker: &str, results: Option<&str>) -> Result<Self, BrokerUrlError> {
        Ok(Self {
            broker: RedisEndpoint::parse("broker", broker)?,
            results: results
                .map(|results| RedisEndpoint::parse("results", results))
                .transpose()?,
        })
    }
}

impl fmt::Display for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.broker)?;
        match &self.results {
            Some(results) => write!(f, ", results at {results}"),
            None => f.write_str(", no results"),
        }
    }
}

impl fmt::Debug for BrokerSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerSettings({self})")
    }
}

/// One Redis, with all that is needed to connect to it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RedisEndpoint {
    pub(crate) place: ServerPlace,
    pub(crate) login: RedisLogin,
    pub(crate) database: i64,
    pub(crate) tls: Option<TlsFiles>,
    /// What Celery is configured to put before each key, `global_keyprefix`.
    pub(crate) key_prefix: String,
}

/// How the server is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerPlace {
    Tcp(HostPort),
    Socket(PathBuf),
    Sentinels {
        servers: Vec<HostPort>,
        master: String,
        login: RedisLogin,
    },
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A user and a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct RedisLogin {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() {
            "RedisLogin(password)"
        } else {
            "RedisLogin(none)"
        })
    }
}

/// The files of a TLS connection; none of them is needed where the system knows who signed the certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl RedisEndpoint {
    /// Reads a URL, or several of Sentinels.
    pub(crate) fn parse(setting: &'static str, text: &str) -> Result<Self, BrokerUrlError> {
        read_endpoint(text).map_err(|reason| BrokerUrlError { setting, reason })
    }

    /// Says whether both are one server with one login, whatever the database.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        self.place == other.place && self.login == other.login && self.tls == other.tls
    }
}

impl fmt::Display for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ServerPlace::Tcp(server) => {
                let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
                write!(f, "{scheme}://{server}/{}", self.database)
            }
            ServerPlace::Socket(path) => write!(f, "redis+socket://{}?virtual_host={}", path.display(), self.database),
            ServerPlace::Sentinels { servers, .. } => {
                let servers: Vec<String> = servers
                    .iter()
                    .map(|server| format!("sentinel://{server}/{}", self.database))
                    .collect();
                f.write_str(&servers.join(";"))
            }
        }
    }
}

impl fmt::Debug for RedisEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisEndpoint({self})")
    }
}

fn read_endpoint(text: &str) -> Result<RedisEndpoint, String> {
    // What follows '#' is mostly the rest of a password.
    if text.contains('#') {
        return Err(format!("it holds a '#'; {PERCENT}"));
    }
    let parts: Vec<&str> = text.split(';').filter(|part| !part.is_empty()).collect();
    let urls: Vec<Url> = parts.iter().map(|part| read_url(part)).collect::<Result<_, _>>()?;
    let Some(first) = urls.first() else {
        return Err(format!("it is empty; it is one of {SHAPES}"));
    };
    if urls.len() > 1 && urls.iter().any(|url| url.scheme() != "sentinel") {
        return Err("several addresses are taken of Sentinels alone; name one Redis, or each with sentinel://".into());
    }
    let query: BTreeMap<String, String> = urls
        .iter()
        .flat_map(Url::query_pairs)
        .map(|(key, value)| (key.into_owned(), value.into_owned()))
        .collect();
    let place = match first.scheme() {
        "redis+socket" | "socket" | "redis+unix" | "unix" => ServerPlace::Socket(socket_path(first)?),
        "sentinel" => ServerPlace::Sentinels {
            servers: urls.iter().map(|url| host_port(url, SENTINEL_PORT)).collect(),
            master: query.get("master_name").cloned().ok_or_else(|| {
                "it names Sentinels and no master; add ?master_name=NAME, the `master_name` of Celery's \
                 `broker_transport_options`"
                    .to_owned()
            })?,
            login: RedisLogin {
                user: query.get("sentinel_username").cloned(),
                password: query.get("sentinel_password").cloned(),
            },
        },
        _ => ServerPlace::Tcp(host_port(first, REDIS_PORT)),
    };
    Ok(RedisEndpoint {
        login: login_of(first)?,
        database: database_of(first, &query, &place)?,
        tls: tls_files(first.scheme(), &query)?,
        key_prefix: query.get("global_keyprefix").cloned().unwrap_or_default(),
        place,
    })
}

/// Reads one URL whose scheme can be used.
fn read_url(text: &str) -> Result<Url, String> {
    let scheme = text
        .split_once("://")
        .map_or("", |(scheme, _)| scheme)
        .to_ascii_lowercase();
    match scheme.as_str() {
        "redis" | "rediss" | "valkey" | "valkeys" | "sentinel" => {}
        "redis+socket" | "socket" | "redis+unix" | "unix" => {}
        "amqp" | "amqps" | "pyamqp" | "librabbitmq" => {
            return Err(
                "RabbitMQ (AMQP) is not supported: messages are taken back and counted in ways that only a Redis \
                 broker has; name the Redis or Valkey that the workers use as their `broker_url`"
                    .into(),
            );
        }
        "rpc" => {
            return Err(
                "rpc:// keeps no result that could be read after a reconnect; let the workers use a Redis as their \
                 `result_backend`"
                    .into(),
            );
        }
        "" => return Err(format!("it has no scheme; it is one of {SHAPES}")),
        _ if scheme.contains("cluster") => {
            return Err("a Redis in cluster mode is not supported, neither here nor by Celery's broker".into());
        }
        other => {
            let other = onceover_types::shortened(other);
            return Err(format!("{other}:// is not supported; it is one of {SHAPES}"));
        }
    }
    let url = Url::parse(text).map_err(|error| format!("{error}; it is one of {SHAPES}; {PERCENT}"))?;
    if !is_socket(&url) && (url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'))) {
        return Err(format!("it holds an '@' behind the host; {PERCENT}"));
    }
    Ok(url)
}

fn is_socket(url: &Url) -> bool {
    matches!(url.scheme(), "redis+socket" | "socket" | "redis+unix" | "unix")
}

/// The host as it is connected to; this machine where none is named, as Celery has it.
fn host_port(url: &Url, port: u16) -> HostPort {
    let host = match url.host() {
        Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        _ => "localhost".to_owned(),
    };
    HostPort {
        host,
        port: url.port().unwrap_or(port),
    }
}

fn socket_path(url: &Url) -> Result<PathBuf, String> {
    let path = decoded(url.path(), "path")?;
    if path.len() > 1 {
        Ok(path.into())
    } else {
        Err(format!("it names no socket; it is one of {SHAPES}"))
    }
}

fn login_of(url: &Url) -> Result<RedisLogin, String> {
    let user = Some(url.username()).filter(|user| !user.is_empty());
    Ok(RedisLogin {
        user: user.map(|user| decoded(user, "user")).transpose()?,
        password: url
            .password()
            .map(|password| decoded(password, "password"))
            .transpose()?,
    })
}

fn decoded(text: &str, part: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned)
        .map_err(|_| format!("its {part} is not UTF-8; {PERCENT}"))
}

fn database_of(url: &Url, query: &BTreeMap<String, String>, place: &ServerPlace) -> Result<i64, String> {
    let path = match place {
        ServerPlace::Socket(_) => "",
        _ => url.path().trim_matches('/'),
    };
    let text = query
        .get("virtual_host")
        .or_else(|| query.get("db"))
        .map_or(path, |database| database.trim_matches('/'));
    if text.is_empty() {
        return Ok(0);
    }
    match text.parse::<u16>() {
        Ok(database) => Ok(i64::from(database)),
        Err(_) => Err(format!(
            "what follows the host is not the number of a database; it is one of {SHAPES}"
        )),
    }
}

fn tls_files(scheme: &str, query: &BTreeMap<String, String>) -> Result<Option<TlsFiles>, String> {
    let is_on = matches!(scheme, "rediss" | "valkeys") || query.get("ssl").is_some_and(|ssl| ssl == "true");
    if !is_on {
        return Ok(None);
    }
    if let Some(asked) = query.get("ssl_cert_reqs") {
        let asked = asked.to_ascii_lowercase();
        if !asked.ends_with("required") {
            return Err(
                "`ssl_cert_reqs` turns the check of the server's certificate off, which is not supported; name the \
                 authority that signed it with ?ssl_ca_certs=FILE"
                    .into(),
            );
        }
    }
    if query
        .get("ssl_check_hostname")
        .is_some_and(|check| check.eq_ignore_ascii_case("false"))
    {
        return Err("`ssl_check_hostname=false` is not supported; use the name that the certificate has".into());
    }
    let path = |key: &str| query.get(key).map(PathBuf::from);
    let files = TlsFiles {
        authorities: path("ssl_ca_certs"),
        certificate: path("ssl_certfile"),
        key: path("ssl_keyfile"),
    };
    if files.certificate.is_some() != files.key.is_some() {
        return Err("a certificate of this client needs both `ssl_certfile` and `ssl_keyfile`".into());
    }
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> RedisEndpoint {
        RedisEndpoint::parse("broker", text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn server(host: &str, port: u16) -> HostPort {
        HostPort {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn addresses_are_read_as_celery_reads_them() {
        for (text, host, port, database) in [
            ("redis://h", "h", 6379, 0),
            ("redis://h:6380/2", "h", 6380, 2),
            ("redis://h:6380//2", "h", 6380, 2),
            ("redis://h?virtual_host=3", "h", 6379, 3),
            ("redis:///1", "localhost", 6379, 1),
            ("redis://10.0.0.7/0", "10.0.0.7", 6379, 0),
            ("redis://[::1]:7000/0", "::1", 7000, 0),
            ("valkey://h/4", "h", 6379, 4),
        ] {
            let read = endpoint(text);
            assert_eq!(read.place, ServerPlace::Tcp(server(host, port)), "{text}");
            assert_eq!(read.database, database, "{text}");
            assert_eq!(read.tls, None, "{text}");
        }
        let socket = endpoint("redis+socket:///run/redis.sock?virtual_host=2");
        assert_eq!(socket.place, ServerPlace::Socket("/run/redis.sock".into()));
        assert_eq!(socket.database, 2);
    }

    #[test]
    fn users_passwords_prefixes_and_files_of_tls_are_read() {
        let read =
            endpoint("rediss://us%40er:p%23w@h/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/ca.pem&global_keyprefix=a:");
        assert_eq!(read.login.user.as_deref(), Some("us@er"));
        assert_eq!(read.login.password.as_deref(), Some("p#w"));
        assert_eq!(read.key_prefix, "a:");
        let tls = read.tls.expect("TLS is on");
        assert_eq!(tls.authorities, Some("/ca.pem".into()));
        assert_eq!(endpoint("redis://:pw@h").login.user, None);
        assert_eq!(endpoint("redis://:pw@h").login.password.as_deref(), Some("pw"));
    }

    #[test]
    fn sentinels_are_read_and_need_a_master() {
        let text = "sentinel://:pw@a:26380/2;sentinel://b;sentinel://c:1?master_name=main&sentinel_password=s";
        let read = endpoint(text);
        assert_eq!(
            read.place,
            ServerPlace::Sentinels {
                servers: vec![server("a", 26380), server("b", 26379), server("c", 1)],
                master: "main".into(),
                login: RedisLogin {
                    user: None,
                    password: Some("s".into()),
                },
            }
        );
        assert_eq!((read.database, read.login.password.as_deref()), (2, Some("pw")));

        let error = BrokerSettings::parse("sentinel://a", None).expect_err("no master is named");
        assert!(error.to_string().contains("master_name"), "{error}");
        assert!(BrokerSettings::parse("sentinel://a?master_name=main", None).is_ok());
    }

    #[test]
    fn what_cannot_be_a_broker_is_refused_with_its_reason() {
        for (text, reason) in [
            ("amqp://guest:secret@h//", "RabbitMQ"),
            ("pyamqp://h", "RabbitMQ"),
            ("rpc://", "rpc:// keeps no result"),
            ("sqs://", "sqs:// is not supported"),
            ("redis-cluster://h", "cluster mode"),
            ("", "it is empty"),
            ("h:6379", "it has no scheme"),
            ("redis://:secret#more@h/0", "'#'"),
            ("redis://h/secret@x", "'@'"),
            ("redis://h/main", "not the number of a database"),
            ("redis://h;redis://i", "several addresses"),
            ("rediss://h?ssl_cert_reqs=none", "not supported"),
            ("rediss://h?ssl_certfile=/c", "both"),
        ] {
            let error = BrokerSettings::parse(text, None).expect_err(text).to_string();
            assert!(error.starts_with("`broker` cannot be used: "), "{error}");
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = BrokerSettings::parse("redis://h", Some("db+sqlite:///secret")).expect_err("no Redis");
        assert!(error.to_string().starts_with("`results` cannot be used: db+sqlite://"));
    }

    #[test]
    fn no_text_of_settings_shows_a_password() {
        let settings = BrokerSettings::parse(
            "sentinel://us:secret@a/1?sentinel_password=secret&master_name=m",
            Some("rediss://:secret@h:1/1"),
        )
        .expect("both can be used");
        let endpoint = &settings.broker;
        let texts = [
            settings.to_string(),
            format!("{settings:?}"),
            format!("{endpoint:?} {:?} {:?}", endpoint.login, endpoint.place),
        ];
        for text in texts {
            assert!(!text.contains("secret"), "{text}");
        }
        assert_eq!(settings.to_string(), "sentinel://a:26379/1, results at rediss://h:1/1");
    }

    #[test]
    fn results_in_another_database_are_at_the_same_server() {
        let broker = endpoint("redis://:pw@h/0");
        assert!(broker.is_same_server(&endpoint("redis://:pw@h/1")));
        assert!(!broker.is_same_server(&endpoint("redis://:pw@i/1")));
        assert!(!broker.is_same_server(&endpoint("redis://h/1")));
    }
}
