//! Why Redis does not answer: found out over a separate connection, and reported in the words of the server or the system with
//! what to do about it. The connection of the store reconnects by itself, and does not report why it has to.

use std::{
    error::Error,
    future::Future,
    io,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};

use super::{
    StoreError,
    connection::{CALL_TIMEOUT, PERCENT},
};

/// How long connecting may take, and the answer to a PING.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time after which a call counts as slow and the reason is looked for.
const SLOW: Duration = Duration::from_millis(500);
/// How long a finding is reused for the next caller.
const HOLDS: Duration = Duration::from_millis(500);

/// What is known of the way to Redis.
pub(super) struct Reach {
    client: Client,
    info: ConnectionInfo,
    /// Whether `redis.url` says where it is.
    configured: bool,
    /// Whether a transport carries the calls, which a simulation owns: nobody else can ask then.
    is_carried: bool,
    /// The newest finding and its time; locked while one is looked for.
    seen: Mutex<Option<(Instant, Option<String>)>>,
}

impl Reach {
    /// Makes what looks for faults. `configured` says that `redis.url` names the server.
    pub fn new(info: ConnectionInfo, configured: bool, is_carried: bool) -> Result<Self, StoreError> {
        Ok(Self {
            client: Client::open(info.clone()).map_err(|error| StoreError::Url(error.to_string()))?,
            info,
            configured,
            is_carried,
            seen: Mutex::new(None),
        })
    }

    /// Finds out why Redis cannot be reached now; None where it can. However many callers ask at a time, one connects.
    pub async fn fault(&self) -> Option<String> {
        if self.is_carried {
            return None;
        }
        let mut seen = self.seen.lock().await;
        if let Some((at, fault)) = &*seen
            && at.elapsed() < HOLDS
        {
            return fault.clone();
        }
        let fault = self.check_connection().await.err();
        *seen = Some((Instant::now(), fault.clone()));
        fault
    }

    async fn check_connection(&self) -> Result<(), String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let asked = async {
            let mut redis = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            redis::cmd("PING").query_async::<redis::Value>(&mut redis).await
        };
        let answer = tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        match answer {
            Ok(_) => Ok(()),
            // A user need not be allowed to PING.
            Err(error) if error.code() == Some("NOPERM") => Ok(()),
            Err(error) if error.is_timeout() && self.answers_without_tls().await => Err(format!(
                "{} does not speak TLS: the handshake gets no answer, a plain PING does; redis.url begins with redis:// there",
                self.address()
            )),
            Err(error) => Err(self.describe(&error)),
        }
    }

    /// Whether a server that is asked for TLS speaks without it: it waits for the end of a line that never comes.
    async fn answers_without_tls(&self) -> bool {
        let ConnectionAddr::TcpTls { host, port, .. } = self.info.addr() else {
            return false;
        };
        let asked = async {
            let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = [0; 1];
            stream.read_exact(&mut answer).await?;
            Ok::<_, io::Error>(matches!(answer, [b'+' | b'-']))
        };
        matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
    }

    /// Waits for a call for at most [`CALL_TIMEOUT`]; meanwhile finds out why a slow one is slow.
    pub async fn limited<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StoreError> {
        self.wait(call, false).await
    }

    /// Does the same for a caller that only wants to know whether Redis answers: a fault is reported as soon as it is found.
    pub async fn asked<T>(&self, call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, StoreError> {
        self.wait(call, true).await
    }

    async fn wait<T>(
        &self,
        call: impl Future<Output = redis::RedisResult<T>>,
        in_haste: bool,
    ) -> Result<T, StoreError> {
        let mut call = pin!(call);
        // Nearly every call ends here: it has one timer.
        if let Ok(answer) = tokio::time::timeout(SLOW, call.as_mut()).await {
            return answer.map_err(|error| self.translate(error));
        }
        let mut fault = pin!(self.fault());
        let mut end = pin!(tokio::time::sleep(CALL_TIMEOUT.saturating_sub(SLOW)));
        let mut found = None;
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer.map_err(|error| self.translate(error)),
                why = &mut fault, if found.is_none() => match why {
                    Some(why) if in_haste => return Err(StoreError::Unavailable(why)),
                    why => found = Some(why),
                },
                () = &mut end => {
                    let why = found.flatten().unwrap_or_else(|| self.silent(CALL_TIMEOUT));
                    return Err(StoreError::Unavailable(why));
                }
            }
        }
    }

    /// Translates the error of a call: faults of the connection into our words, everything else as it is.
    fn translate(&self, error: RedisError) -> StoreError {
        match self.advice(&error) {
            Some(_) => StoreError::Unavailable(self.describe(&error)),
            None if error.is_io_error() => StoreError::Unavailable(self.describe(&error)),
            None => error.into(),
        }
    }

    fn silent(&self, waited: Duration) -> String {
        format!("no answer from {} within {} s", self.address(), waited.as_secs())
    }

    /// The address of the server, without user and password.
    fn address(&self) -> String {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => format!("{host}:{port}"),
            ConnectionAddr::Unix(path) => path.display().to_string(),
            other => other.to_string(),
        }
    }

    fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Describes an error: what failed, where, why, and what to do.
    fn describe(&self, error: &RedisError) -> String {
        let address = self.address();
        let what = match find_io_cause(error) {
            Some(io::ErrorKind::TimedOut) => return self.silent(PATIENCE),
            Some(_) => format!("{address}: {error}"),
            None => format!("{address} answered: {}", read_server_error(error)),
        };
        match self.advice(error) {
            Some(advice) if self.configured => format!("{what}; {advice}"),
            _ => what,
        }
    }

    /// Advises on an error of connecting; None for any other.
    fn advice(&self, error: &RedisError) -> Option<String> {
        let text = read_server_error(error);
        let has = |part: &str| text.contains(part);
        let database = self.info.redis_settings().db();
        Some(match find_io_cause(error) {
            None if error.kind() == ErrorKind::AuthenticationFailed || has("WRONGPASS") || has("invalid password") => {
                format!("put the right user and password into redis.url (redis://USER:PASSWORD@HOST); {PERCENT}")
            }
            None if has("NOAUTH") => {
                format!("put the password into redis.url (redis://:PASSWORD@HOST); {PERCENT}")
            }
            None if has("DB index is out of range") => {
                format!("the server has no database {database}: name another one at the end of redis.url")
            }
            None if has("refused to switch database") => {
                format!("name a database at the end of redis.url that can be used, {database} cannot")
            }
            None => return None,
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                "is Redis running there? redis.url says where it is looked for".into()
            }
            Some(_) if has("certificate") => {
                "name the file of the CA's certificate in SSL_CERT_FILE where it is one of your own, and the host as in the \
                 certificate in redis.url"
                    .into()
            }
            Some(io::ErrorKind::InvalidData) if self.is_tls() => {
                "does the server speak TLS on this port? without TLS redis.url begins with redis://".into()
            }
            Some(_) if has("lookup") || has("resolv") || has("Name or service") => {
                format!("redis.url names a host that this machine does not know; {PERCENT}")
            }
            Some(_) if self.is_tls() && has("handshake") => {
                "does the server speak TLS on this port? without TLS redis.url begins with redis://".into()
            }
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
                if !self.is_tls() && matches!(self.info.addr(), ConnectionAddr::Tcp(..)) =>
            {
                "where the server expects TLS, redis.url begins with rediss://".into()
            }
            Some(_) => return None,
        })
    }
}

/// Finds the kind of the system's error behind this one; None where the server itself has answered.
fn find_io_cause(error: &RedisError) -> Option<io::ErrorKind> {
    if !error.is_io_error() {
        return None;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        // Shared, so that the error can be cloned.
        let shared = error.downcast_ref::<Arc<dyn Error + Send + Sync>>();
        let error = shared.map_or(error, |shared| shared.as_ref() as &(dyn Error + 'static));
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    Some(io::ErrorKind::Other)
}

/// Returns the words of the server.
fn read_server_error(error: &RedisError) -> String {
    let detail = error.detail().map(|detail| detail.trim_end_matches('.'));
    match (error.code(), detail) {
        (Some(code), Some(detail)) if error.kind() == ErrorKind::Extension => format!("{code} {detail}"),
        (Some("ERR"), Some(detail)) => format!("ERR {detail}"),
        _ => error.to_string(),
    }
}
