//! What is possible at all here: the smallest server, which takes the same requests on the same Redis and answers as
//! many bytes. It reads no JSON, decides nothing and makes no JSON. Each request is answered in two ways:
//!
//! - `/bare/<n>`: with what one `EVALSHA` of the smallest script reads.
//! - `/own/<n>`: with a text it has, after Redis has executed the commands that the daemon was seen to send for this
//!   request, in as many round trips.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
    routing::any,
};
use redis::{AsyncCommands, Pipeline, Script, aio::ConnectionManager};
use serde::{Deserialize, Serialize};

/// The smallest script that reads a key.
pub const BARE: &str = "return redis.call('GET', KEYS[1])";

/// Commands and their arguments, by round trips.
pub type SentCommands = Vec<Vec<Vec<String>>>;

/// One kind of request: what the daemon sent to Redis for it, and its answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbedRequest {
    pub sent: SentCommands,
    pub answer: String,
}

/// What the probe does.
#[derive(Debug, Serialize, Deserialize)]
pub struct ProbeOrders {
    /// URL of Redis.
    pub redis: String,
    /// By their number in the path.
    pub requests: Vec<ProbedRequest>,
}

fn respond(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn answer_bare(mut redis: ConnectionManager, script: Arc<Script>, key: Arc<str>) -> Response {
    let read: Vec<u8> = script
        .key(&*key)
        .invoke_async(&mut redis)
        .await
        .expect("the script runs");
    respond(read.into())
}

async fn answer_own(mut redis: ConnectionManager, trips: Arc<[Pipeline]>, answer: Bytes) -> Response {
    for trip in trips.iter() {
        let _: redis::Value = trip.query_async(&mut redis).await.expect("the commands run");
    }
    respond(answer)
}

/// The commands of a round trip. A `MULTI` among them is sent as it is.
fn pipeline(trip: Vec<Vec<String>>) -> Pipeline {
    let mut pipeline = redis::pipe();
    for request in trip {
        let mut words = request.into_iter();
        let mut command = redis::cmd(&words.next().expect("a command"));
        for word in words {
            command.arg(word);
        }
        pipeline.add_command(command);
    }
    pipeline
}

/// Serves until it is killed; its first line of output is its port. The orders are the JSON of a file.
pub async fn serve(orders: &str) {
    let orders = fs::read_to_string(orders).expect("the bench writes them");
    let orders: ProbeOrders = serde_json::from_str(&orders).expect("the bench writes JSON");
    let client = redis::Client::open(orders.redis).expect("a Redis URL");
    let mut redis = ConnectionManager::new(client).await.expect("Redis answers");
    let script = Arc::new(Script::new(BARE));
    let mut router = Router::new();
    for (number, request) in orders.requests.into_iter().enumerate() {
        let key: Arc<str> = format!("probe:{number}").into();
        let () = redis
            .set(&*key, request.answer.as_str())
            .await
            .expect("Redis takes keys");
        let trips: Arc<[Pipeline]> = request.sent.into_iter().map(pipeline).collect();
        let answer = Bytes::from(request.answer);
        let (bare, own, script) = (redis.clone(), redis.clone(), Arc::clone(&script));
        router = router
            .route(
                &format!("/bare/{number}"),
                any(move |_: Bytes| answer_bare(bare, script, key)),
            )
            .route(
                &format!("/own/{number}"),
                any(move |_: Bytes| answer_own(own, trips, answer)),
            );
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound").port());
    axum::serve(listener, router).await.expect("it serves");
}

/// The probe as a separate process, as the daemon is one.
pub struct Probe {
    child: Child,
    pub port: u16,
}

impl Probe {
    /// Starts it; its orders lie in a file of the folder.
    pub fn start(folder: &Path, orders: &ProbeOrders) -> Self {
        let file = folder.join("probe.json");
        let text = serde_json::to_string(orders).expect("JSON can be written");
        fs::write(&file, text).expect("the orders are written");
        let mut child = Command::new(std::env::current_exe().expect("it knows its path"))
            .arg("probe")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the probe starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("the probe prints its port");
        Self {
            child,
            port: line.trim().parse().expect("a port"),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
