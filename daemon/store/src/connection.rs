//! The connection to Redis: settings with which it reconnects after any outage, and the time limit of a call.

use std::time::Duration;

use redis::{
    Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use url::Url;

use super::StoreError;

/// How long a caller waits for Redis.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How a password with special characters is written.
pub(super) const PERCENT: &str = "special characters of a user or password are percent-encoded there: '#' is %23, '@' %40, '/' %2F, ':' %3A, '%' %25";

/// Reads a Redis URL and adds our connection settings.
pub fn connection_info(url: &str) -> Result<ConnectionInfo, StoreError> {
    check_url(url).map_err(StoreError::Url)?;
    let info = url
        .into_connection_info()
        .map_err(|_| StoreError::Url(format!("it is none of {SHAPES}; {PERCENT}")))?;
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(Duration::from_secs(10))
        .set_keepalive(
            TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(3)),
        );
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp))
}

/// How a Redis URL looks.
const SHAPES: &str = "redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://... (TLS) or redis+unix:///PATH?db=DATABASE";

/// Says why a URL names no Redis that can be used. The error quotes nothing of the URL, which may hold a password.
fn check_url(text: &str) -> Result<(), String> {
    let scheme = text
        .split_once("://")
        .map_or("", |(scheme, _)| scheme)
        .to_ascii_lowercase();
    if scheme.contains("sentinel") {
        return Err(
            "Sentinel is not supported yet: name the primary itself, or an address that follows it (a proxy, a \
                    service), with redis:// or rediss://"
                .into(),
        );
    }
    if scheme.contains("cluster") {
        return Err("a Redis in cluster mode is not supported: scripts change keys of several slots at a time".into());
    }
    // What follows '#' or is in the place of a path is mostly the rest of a password.
    if text.contains('#') {
        return Err(format!("it holds a '#'; {PERCENT}"));
    }
    let url = Url::parse(text).map_err(|error| format!("{error}; it is one of {SHAPES}; {PERCENT}"))?;
    if !scheme.contains("unix") && (url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'))) {
        return Err(format!("it holds an '@' behind the host; {PERCENT}"));
    }
    Ok(())
}

/// Makes a connection that reconnects forever. It connects at the first call.
pub fn connect(info: ConnectionInfo) -> Result<ConnectionManager, StoreError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(usize::MAX)
        .set_max_delay(Duration::from_millis(500))
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(Some(Duration::from_secs(2)));
    let client = Client::open(info).map_err(|error| StoreError::Url(error.to_string()))?;
    ConnectionManager::new_lazy_with_config(client, config).map_err(StoreError::from)
}

/// Returns the URL without user and password, for people and for clients that connect themselves.
pub fn public_url(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    match info.addr() {
        redis::ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{database}"),
        redis::ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}/{database}"),
        redis::ConnectionAddr::Unix(path) => format!("redis+unix://{}?db={database}", path.display()),
        other => format!("{other}"),
    }
}
