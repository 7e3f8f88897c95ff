//! What is possible at all here: the smallest server that takes the same requests, runs the same scripts on the same
//! Redis and answers as many bytes. It reads no JSON, decides nothing and makes no JSON.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::header,
    response::IntoResponse,
    routing::{get, post},
};
use redis::{Script, aio::ConnectionManager};
use serde::{Deserialize, Serialize};

macro_rules! script {
    ($($file:literal)+) => {
        concat!($(include_str!(concat!("../../daemon/store/src/lua/", $file, ".lua")), "\n",)+)
    };
}

const SUBMIT: &str = script!(
    "lib/base" "lib/keys" "lib/json" "lib/record" "lib/public_json" "lib/notes" "lib/events" "lib/index" "lib/outbox"
    "lib/ends" "lib/deliveries" "lib/callbacks" "lib/task_view" "lib/foreign" "lib/reuse" "stage/submit"
);
const READ: &str = concat!(
    script!("lib/base" "lib/keys" "lib/json" "lib/record" "lib/public_json" "lib/notes" "lib/task_view"),
    "return { read_task_view(args.task), tonumber(call('GET', EVENT_SEQUENCE) or 0) }\n"
);

/// What the probe does, by route.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    pub redis: String,
    /// Arguments of the script and body of the answer.
    pub hit: (Vec<String>, String),
    pub status: (Vec<String>, String),
}

struct Answer {
    script: Script,
    arguments: Vec<String>,
    body: Bytes,
}

#[derive(Clone)]
struct Shared {
    redis: ConnectionManager,
    hit: Arc<Answer>,
    status: Arc<Answer>,
}

async fn answer(mut redis: ConnectionManager, answer: Arc<Answer>) -> impl IntoResponse {
    let mut invocation = answer.script.prepare_invoke();
    for argument in &answer.arguments {
        invocation.arg(argument);
    }
    let _: redis::Value = invocation.invoke_async(&mut redis).await.expect("the script runs");
    ([(header::CONTENT_TYPE, "application/json")], answer.body.clone())
}

async fn hit(State(shared): State<Shared>, _body: Bytes) -> impl IntoResponse {
    answer(shared.redis, shared.hit).await
}

async fn status(State(shared): State<Shared>) -> impl IntoResponse {
    answer(shared.redis, shared.status).await
}

/// Serves until it is killed; its first line of output is its port.
pub async fn serve(orders: &str) {
    let orders: Orders = serde_json::from_str(orders).expect("the bench writes them");
    let client = redis::Client::open(orders.redis).expect("a Redis URL");
    let redis = ConnectionManager::new(client).await.expect("Redis answers");
    let answer = |text: &str, (arguments, body): (Vec<String>, String)| {
        Arc::new(Answer {
            script: Script::new(text),
            arguments,
            body: body.into(),
        })
    };
    let shared = Shared {
        redis,
        hit: answer(SUBMIT, orders.hit),
        status: answer(READ, orders.status),
    };
    let router = Router::new()
        .route("/hit", post(hit))
        .route("/status", get(status))
        .with_state(shared);
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
    pub fn start(orders: &Orders) -> Self {
        let orders = serde_json::to_string(orders).expect("JSON can be written");
        let mut child = Command::new(std::env::current_exe().expect("it knows its path"))
            .args(["probe", &orders])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the probe starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("the probe tells its port");
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
