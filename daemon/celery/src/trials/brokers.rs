//! The servers that people have: with a password, with users and what these may do, with TLS, behind Sentinel with a
//! replica; Redis, and Valkey where it is installed.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::{PATIENCE, answer_requests_at, as_worker, free_port, message, next_news, until};
use crate::{BrokerSettings, CeleryClient, CeleryError, CeleryNews, MessageId, PushError, Whereabouts};

/// Settings of a server that keeps nothing.
const FORGETS: [&str; 6] = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
/// A certificate and its key, and who signed it: for `localhost` and 127.0.0.1, for a hundred years.
const TLS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/celery/tls");

/// A server program that runs until dropped.
struct Server {
    child: Child,
    _dir: TempDir,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("ooc").tempdir().unwrap();
        Self::start_in(dir, program, arguments)
    }

    fn start_in(dir: TempDir, program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server is installed (make deps)");
        Self { child, _dir: dir }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server programs of this machine: Redis, and Valkey where it is installed.
fn server_programs() -> Vec<&'static str> {
    let mut programs = vec!["redis-server"];
    let valkey = Command::new("valkey-server").arg("--version").output();
    if valkey.is_ok_and(|output| output.status.success()) {
        programs.push("valkey-server");
    }
    programs
}

fn connect(broker: &str, results: Option<&str>) -> CeleryClient {
    let settings = BrokerSettings::parse(broker, results).unwrap();
    CeleryClient::new(&settings)
}

/// Uses all that a broker is used for.
async fn use_broker(client: &CeleryClient, what: &str) {
    until(&format!("{what} answers"), async || client.depth("q").await.is_ok()).await;
    let mut news = client.follow();
    assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected, "{what}");
    let (id, envelope) = message("q");
    assert_eq!(client.push("q", envelope.bytes()).await, Ok(()), "{what}");
    let found = client.locate("q", &id, envelope.bytes()).await;
    assert_eq!(found, Ok(Whereabouts::Queued { position: 0 }), "{what}");
    assert_eq!(client.take_back("q", envelope.bytes()).await, Ok(true), "{what}");
    let results = client.results(&[id, MessageId::generate()]).await;
    assert_eq!(results, Ok(vec![None, None]), "{what}");
    let survey = client.survey(PATIENCE).await;
    assert!(survey.is_ok(), "{what}: {survey:?}");
}

#[tokio::test]
async fn servers_with_a_password_and_with_users_are_used_in_any_database() {
    for program in server_programs() {
        let port = &free_port().to_string();
        let user = [
            "--user",
            "worker",
            "on",
            ">s3:cret@",
            "~*",
            "&*",
            "+@all",
            "-@dangerous",
        ];
        let arguments = [
            &["--port", port.as_str(), "--requirepass", "p#w/1"][..],
            &FORGETS,
            &user,
        ]
        .concat();
        let _server = Server::start(program, &arguments);
        for (login, databases) in [(":p%23w%2F1", (0, 1)), ("worker:s3%3Acret%40", (6, 7))] {
            let url = |database: u8| format!("redis://{login}@127.0.0.1:{port}/{database}");
            let client = connect(&url(databases.0), Some(&url(databases.1)));
            use_broker(&client, &format!("{program} as {login}")).await;
        }
        for login in ["", ":wr%23ng@", "worker:wr%23ng@"] {
            let client = connect(&format!("redis://{login}127.0.0.1:{port}/0"), None);
            let (_, envelope) = message("q");
            let refused = client.push("q", envelope.bytes()).await;
            let Err(PushError::NotSent(error)) = &refused else {
                panic!("{program} as {login:?}: {refused:?}");
            };
            let text = error.to_string();
            assert!(!text.contains("wr#ng") && !text.contains("wr%23ng"), "{text}");
            assert!(text.contains(&format!("redis://127.0.0.1:{port}/0")), "{text}");
        }
    }
}

#[tokio::test]
async fn what_a_user_may_not_do_is_an_error_that_names_the_command() {
    let port = &free_port().to_string();
    let user = ["--user", "reader", "on", ">pw", "~*", "&*", "+@read", "+@connection"];
    let arguments = [&["--port", port.as_str()][..], &FORGETS, &user].concat();
    let _server = Server::start("redis-server", &arguments);
    let client = connect(&format!("redis://reader:pw@127.0.0.1:{port}/0"), None);
    until("Redis answers", async || client.depth("q").await.is_ok()).await;
    let (_, envelope) = message("q");
    let refused = client.push("q", envelope.bytes()).await;
    let Err(PushError::NotSent(CeleryError::Refused { command, reason, .. })) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*command, "LPUSH");
    assert!(reason.to_lowercase().contains("lpush"), "{reason}");
}

#[tokio::test]
async fn a_server_with_tls_is_used_where_its_authority_is_named_and_refused_where_it_is_not() {
    for program in server_programs() {
        let port = &free_port().to_string();
        let file = |name: &str| Path::new(TLS_FOLDER).join(name).display().to_string();
        let (server, authority) = (file("server.pem"), file("ca.pem"));
        let tls = [
            "--port",
            "0",
            "--tls-port",
            port.as_str(),
            "--tls-cert-file",
            server.as_str(),
            "--tls-key-file",
            server.as_str(),
            "--tls-ca-cert-file",
            authority.as_str(),
            "--tls-auth-clients",
            "optional",
            "--bind",
            "127.0.0.1",
            "127.0.0.2",
        ];
        let _server = Server::start(program, &[&FORGETS[..], &tls].concat());
        let url = |host: &str, more: &str| {
            format!("rediss://{host}:{port}/4?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={authority}{more}")
        };
        let client = connect(&url("127.0.0.1", ""), Some(&url("localhost", "")));
        use_broker(&client, program).await;
        // With a certificate of this client.
        let own = format!("&ssl_certfile={server}&ssl_keyfile={server}");
        let client = connect(&url("127.0.0.1", &own), Some(&url("127.0.0.1", &own)));
        use_broker(&client, program).await;

        let other = Path::new(TLS_FOLDER).join("../../src/localhost.pem");
        for wrong in [
            format!(
                "rediss://127.0.0.1:{port}/4?ssl_cert_reqs=required&ssl_ca_certs={}",
                other.display()
            ),
            // The certificate has no such name.
            url("127.0.0.2", ""),
            format!("redis://127.0.0.1:{port}/4"),
        ] {
            let depth = connect(&wrong, None).depth("q").await;
            let Err(error) = depth else {
                panic!("{program} at {wrong} must not be used");
            };
            assert!(error.to_string().contains(port.as_str()), "{error}");
            let is_checked = wrong.starts_with("rediss");
            assert!(!is_checked || error.to_string().contains("certificate"), "{error}");
        }
    }
}

/// A master with a replica, and a Sentinel that makes the replica master when the master is lost.
struct Replicated {
    master: Server,
    _others: [Server; 2],
    /// Of the master, its replica, the Sentinel, and one that nobody listens on.
    ports: [u16; 4],
}

impl Replicated {
    async fn start(program: &str) -> Self {
        let ports = [(); 4].map(|()| free_port());
        let [master_port, replica_port, sentinel_port, _] = ports.map(|port| port.to_string());
        let (leads, follows) = (master_port.as_str(), replica_port.as_str());
        let leads = ["--port", leads, "--repl-diskless-sync-delay", "0"];
        let follows = ["--port", follows, "--replicaof", "127.0.0.1", master_port.as_str()];
        let master = Server::start(program, &[&leads[..], &FORGETS].concat());
        let replica = Server::start(program, &[&follows[..], &FORGETS].concat());
        until("the replica follows its master", async || {
            let Some(mut master) = raw(ports[0]).await else {
                return false;
            };
            let replicas: Result<i64, _> = redis::cmd("WAIT").arg(1).arg(100).query_async(&mut master).await;
            replicas.is_ok_and(|count| count == 1)
        })
        .await;
        // It asks the master for its replicas at its start.
        let conf = format!(
            "bind 127.0.0.1\nport {sentinel_port}\nsentinel monitor main 127.0.0.1 {master_port} 1\n\
             sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        );
        let dir = tempfile::Builder::new().prefix("ooc").tempdir().unwrap();
        std::fs::write(dir.path().join("sentinel.conf"), conf).unwrap();
        let sentinel = Server::start_in(dir, program, &["./sentinel.conf", "--sentinel"]);
        let replicated = Self {
            master,
            _others: [replica, sentinel],
            ports,
        };
        until("Sentinel knows the replica", async || {
            replicated.is_replica_known().await
        })
        .await;
        replicated
    }

    async fn is_replica_known(&self) -> bool {
        let Some(mut sentinel) = raw(self.ports[2]).await else {
            return false;
        };
        let mut question = redis::cmd("SENTINEL");
        question.arg("REPLICAS").arg("main");
        let known: Result<Vec<redis::Value>, _> = question.query_async(&mut sentinel).await;
        known.is_ok_and(|replicas| !replicas.is_empty())
    }

    /// One Sentinel that is not there, and the one that is.
    fn url(&self, database: u8) -> String {
        let [_, _, sentinel, none] = self.ports;
        format!("sentinel://127.0.0.1:{none}/{database};sentinel://127.0.0.1:{sentinel}/{database}?master_name=main")
    }
}

/// A connection of another client, if the server takes any.
async fn raw(port: u16) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/0")).ok()?;
    client.get_multiplexed_async_connection().await.ok()
}

#[tokio::test]
async fn when_the_master_is_lost_the_client_follows_sentinel_to_the_replica_and_finds_its_messages_there() {
    for program in server_programs() {
        let mut servers = Replicated::start(program).await;
        let client = connect(&servers.url(0), Some(&servers.url(1)));
        use_broker(&client, program).await;
        let mut news = client.follow();
        assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected);
        let (id, envelope) = message("q");
        client.push("q", envelope.bytes()).await.unwrap();
        let mut master = raw(servers.ports[0]).await.expect("the master answers");
        until("the replica has the message", async || {
            let mut wait = redis::cmd("WAIT");
            let replicas: Result<i64, _> = wait.arg(1).arg(100).query_async(&mut master).await;
            // Only what this connection has written is waited for, so it writes too.
            let written: Result<i64, _> = redis::cmd("INCR").arg("n").query_async(&mut master).await;
            written.is_ok_and(|written| written > 1) && replicas.is_ok_and(|count| count == 1)
        })
        .await;
        servers.master.kill();
        until("the client reaches the new master", async || {
            client.locate("q", &id, envelope.bytes()).await == Ok(Whereabouts::Queued { position: 0 })
        })
        .await;
        assert_eq!(
            next_news(&mut news).await,
            CeleryNews::Reconnected,
            "news come from there"
        );
        let _worker = answer_requests_at(
            redis::Client::open(format!("redis://127.0.0.1:{}/0", servers.ports[1])).unwrap(),
            "/0.celery.pidbox",
            "w1@h",
            as_worker,
        )
        .ready()
        .await;
        let survey = client.survey(Duration::from_secs(5)).await.unwrap();
        assert_eq!(
            (survey.connected, survey.reports.len()),
            (1, 1),
            "workers are asked there"
        );
        assert_eq!(client.take_back("q", envelope.bytes()).await, Ok(true));
    }
}
