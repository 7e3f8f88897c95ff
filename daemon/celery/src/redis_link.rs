//! A connection to one Redis that is made when it is needed, made again when it broke, and never waited for longer than
//! a call may take. Behind Sentinel the master is asked for at each connection.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, Pipeline, RedisConnectionInfo, RedisError, TlsCertificates, Value,
    aio::{MultiplexedConnection, PubSub},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    CeleryError,
    settings::{HostPort, RedisEndpoint, RedisLogin, ServerPlace, TlsFiles},
};

/// How long connecting may take, the questions to Sentinels included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one Sentinel is waited for.
const SENTINEL_TIMEOUT: Duration = Duration::from_millis(600);
/// How long the answer to a command is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// For how long a failure to connect answers for the next calls, so that many of them do not wait one after another.
const FAILURE_HOLDS: Duration = Duration::from_millis(250);
/// Answers after which another connection is needed: the server is no master any more, or wants another login.
const FORGET_AFTER: [&str; 4] = ["READONLY", "LOADING", "MASTERDOWN", "NOAUTH"];

/// A connection to one Redis, shared by its clones.
#[derive(Clone)]
pub(crate) struct RedisLink(Arc<LinkState>);

struct LinkState {
    /// What the server is for, as errors say it.
    role: &'static str,
    endpoint: RedisEndpoint,
    open: Mutex<OpenLink>,
}

#[derive(Default)]
struct OpenLink {
    /// Counts connections, so that a late error of an old one does not close the new one.
    number: u64,
    connection: Option<MultiplexedConnection>,
    failure: Option<(Instant, CeleryError)>,
}

impl RedisLink {
    /// Makes a link that connects at the first call. `role` says what for, "the broker".
    pub(crate) fn new(role: &'static str, endpoint: RedisEndpoint) -> Self {
        Self(Arc::new(LinkState {
            role,
            endpoint,
            open: Mutex::default(),
        }))
    }

    pub(crate) fn endpoint(&self) -> &RedisEndpoint {
        &self.0.endpoint
    }

    /// Names the server in errors and logs, without user and password.
    pub(crate) fn server(&self) -> String {
        format!("{} {}", self.0.role, self.0.endpoint)
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn call<T: FromRedisValue>(&self, name: &'static str, command: &Cmd) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        let answer = command.query_async(&mut connection);
        self.wait_for_answer(number, name, answer).await
    }

    /// Sends several commands at once and waits for all their answers.
    pub(crate) async fn call_all<T: FromRedisValue>(
        &self,
        name: &'static str,
        commands: &Pipeline,
    ) -> Result<T, CeleryError> {
        let (number, mut connection) = self.connection().await?;
        let answers = commands.query_async(&mut connection);
        self.wait_for_answer(number, name, answers).await
    }

    async fn wait_for_answer<T>(
        &self,
        number: u64,
        name: &'static str,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, CeleryError> {
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(number, name, &error).await),
            Err(_) => Err(self.timed_out(number, name).await),
        }
    }

    /// Opens a separate connection for subscriptions.
    pub(crate) async fn subscriber(&self) -> Result<PubSub, CeleryError> {
        let connecting = async {
            let client = self.find_server().await?;
            let connected = client.get_async_pubsub().await;
            connected.map_err(|error| self.unreachable(error.to_string()))
        };
        self.connect_in_time(connecting).await
    }

    async fn connect_in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, CeleryError>>,
    ) -> Result<T, CeleryError> {
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(self.unreachable(no_answer_within(CONNECT_TIMEOUT))),
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), CeleryError> {
        let mut open = self.0.open.lock().await;
        if let Some(connection) = &open.connection {
            return Ok((open.number, connection.clone()));
        }
        if let Some((at, error)) = &open.failure
            && at.elapsed() < FAILURE_HOLDS
        {
            return Err(error.clone());
        }
        match self.connect_in_time(self.connect()).await {
            Ok(connection) => {
                open.number += 1;
                open.connection = Some(connection.clone());
                open.failure = None;
                Ok((open.number, connection))
            }
            Err(error) => {
                open.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, CeleryError> {
        let client = self.find_server().await?;
        let unreachable = |error: RedisError| self.unreachable(error.to_string());
        let mut connection = open_connection(&client).await.map_err(unreachable)?;
        if let ServerPlace::Sentinels { .. } = &self.0.endpoint.place {
            // During a failover Sentinels may still name the former master. Who may not ask has to believe them.
            let role: Result<Vec<Value>, RedisError> = redis::cmd("ROLE").query_async(&mut connection).await;
            if let Ok(role) = role
                && let Some(Value::BulkString(name)) = role.first()
                && name != b"master"
            {
                let name = String::from_utf8_lossy(name);
                return Err(self.unreachable(format!(
                    "the server that Sentinel names is a {name}, not the master yet"
                )));
            }
        }
        Ok(connection)
    }

    async fn find_server(&self) -> Result<Client, CeleryError> {
        let endpoint = &self.0.endpoint;
        match &endpoint.place {
            ServerPlace::Tcp(server) => self.client(self.tcp(server), &endpoint.login, endpoint.database),
            ServerPlace::Socket(path) => {
                self.client(ConnectionAddr::Unix(path.clone()), &endpoint.login, endpoint.database)
            }
            ServerPlace::Sentinels { servers, master, login } => {
                let mut reasons = Vec::new();
                for sentinel in servers {
                    match self.ask_sentinel(sentinel, login, master).await {
                        Ok(server) => return self.client(self.tcp(&server), &endpoint.login, endpoint.database),
                        Err(reason) => reasons.push(format!("{sentinel}: {reason}")),
                    }
                }
                Err(self.unreachable(format!("no Sentinel names the master; {}", reasons.join("; "))))
            }
        }
    }

    async fn ask_sentinel(&self, sentinel: &HostPort, login: &RedisLogin, master: &str) -> Result<HostPort, String> {
        let client = self
            .client(self.tcp(sentinel), login, 0)
            .map_err(|error| error.to_string())?;
        let asking = async {
            let mut connection = open_connection(&client).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
            let named: Option<(String, u16)> = question.query_async(&mut connection).await?;
            Ok::<_, RedisError>(named)
        };
        match timeout(SENTINEL_TIMEOUT, asking).await {
            Ok(Ok(Some((host, port)))) => Ok(HostPort { host, port }),
            Ok(Ok(None)) => Err(format!("it knows no master {master:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(no_answer_within(SENTINEL_TIMEOUT)),
        }
    }

    fn tcp(&self, server: &HostPort) -> ConnectionAddr {
        let HostPort { host, port } = server.clone();
        match &self.0.endpoint.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
        }
    }

    fn client(&self, address: ConnectionAddr, login: &RedisLogin, database: i64) -> Result<Client, CeleryError> {
        let is_tls = matches!(address, ConnectionAddr::TcpTls { .. });
        let info = connection_info(address, login, database).map_err(|error| self.unreachable(error.to_string()))?;
        let made = match &self.0.endpoint.tls {
            Some(files) if is_tls => {
                let certificates = read_certificates(files).map_err(|reason| self.unreachable(reason))?;
                Client::build_with_tls(info, certificates)
            }
            _ => Client::open(info),
        };
        made.map_err(|error| self.unreachable(error.to_string()))
    }

    fn unreachable(&self, reason: String) -> CeleryError {
        CeleryError::Unreachable {
            server: self.server(),
            reason,
        }
    }

    async fn timed_out(&self, number: u64, command: &'static str) -> CeleryError {
        self.forget(number).await;
        CeleryError::Unanswered {
            server: self.server(),
            command,
            reason: no_answer_within(ANSWER_TIMEOUT),
        }
    }

    async fn failed(&self, number: u64, command: &'static str, error: &RedisError) -> CeleryError {
        let is_refusal = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        if !is_refusal || error.code().is_some_and(|code| FORGET_AFTER.contains(&code)) {
            self.forget(number).await;
        }
        let (server, reason) = (self.server(), error.to_string());
        if is_refusal {
            CeleryError::Refused {
                server,
                command,
                reason,
            }
        } else {
            CeleryError::Unanswered {
                server,
                command,
                reason,
            }
        }
    }

    async fn forget(&self, number: u64) {
        let mut open = self.0.open.lock().await;
        if open.number == number {
            open.connection = None;
        }
    }
}

pub(crate) fn no_answer_within(time: Duration) -> String {
    format!("no answer within {}", onceover_types::humane::duration(time))
}

async fn open_connection(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    // The time of a call is limited around it.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

fn connection_info(address: ConnectionAddr, login: &RedisLogin, database: i64) -> Result<ConnectionInfo, RedisError> {
    let mut settings = RedisConnectionInfo::default().set_db(database);
    if let Some(user) = &login.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password);
    }
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(Duration::from_secs(10))
        .set_keepalive(
            TcpKeepalive::new()
                .with_time(Duration::from_secs(10))
                .with_interval(Duration::from_secs(3)),
        );
    Ok(address
        .into_connection_info()?
        .set_redis_settings(settings)
        .set_tcp_settings(tcp))
}

fn read_certificates(files: &TlsFiles) -> Result<TlsCertificates, String> {
    let read = |path: &Option<PathBuf>| match path {
        None => Ok(None),
        Some(path) => fs::read(path)
            .map(Some)
            .map_err(|error| format!("cannot read {}: {error}", path.display())),
    };
    let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
    Ok(TlsCertificates {
        client_tls: certificate.zip(key).map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        }),
        root_cert: read(&files.authorities)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str) -> RedisLink {
        let endpoint = RedisEndpoint::parse("broker", url).expect("an address");
        RedisLink::new("the broker", endpoint)
    }

    #[tokio::test]
    async fn what_cannot_be_reached_was_not_sent_and_is_named_without_its_password() {
        let error = link("redis://:secret@127.0.0.1:1/0")
            .call::<()>("PING", &redis::cmd("PING"))
            .await
            .expect_err("nothing listens there");
        assert!(!error.is_outcome_unknown());
        let text = error.to_string();
        assert!(
            text.starts_with("cannot connect to the broker redis://127.0.0.1:1/0"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }

    #[tokio::test]
    async fn a_file_of_tls_that_is_missing_is_named() {
        let error = link("rediss://127.0.0.1:1/0?ssl_ca_certs=/missing/ca.pem")
            .call::<()>("PING", &redis::cmd("PING"))
            .await
            .expect_err("there is no such file");
        assert!(error.to_string().contains("/missing/ca.pem"), "{error}");
    }

    #[tokio::test]
    async fn sentinels_that_cannot_be_reached_are_each_named() {
        let link = link("sentinel://127.0.0.1:1/0;sentinel://127.0.0.1:2/0?master_name=main");
        let Err(error) = link.subscriber().await else {
            panic!("no Sentinel is there");
        };
        let text = error.to_string();
        assert!(
            text.contains("127.0.0.1:1: ") && text.contains("127.0.0.1:2: "),
            "{text}"
        );
    }
}
