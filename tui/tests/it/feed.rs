//! The feed against a daemon that is killed and comes back: what it says, and how soon.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use onceover_tui::{
    feed,
    model::{MissingPart, Model},
    update::{UiEvent, update},
};
use onceover_types::StageState;
use onceover_wire::{EventKind, TaskPage, client::Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{broadcast, mpsc},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::fixture::*;

/// A daemon's worth of HTTP: figures, one page of tasks, and an event stream.
struct Daemon {
    address: std::net::SocketAddr,
    events: broadcast::Sender<String>,
    serving: JoinHandle<()>,
    /// Whether it accepts connections and answers nothing, as one that is stopped.
    hangs: Arc<AtomicBool>,
}

impl Daemon {
    async fn start(address: &str, seq: u64) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (events, _) = broadcast::channel(64);
        let sender = events.clone();
        let hangs = Arc::new(AtomicBool::new(false));
        let is_hung = hangs.clone();
        let serving = tokio::spawn(async move {
            // Dropped with the task: a killed daemon closes its connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if is_hung.load(Ordering::SeqCst) {
                    connections.spawn(async move {
                        let _open = stream;
                        std::future::pending::<()>().await;
                    });
                } else {
                    connections.spawn(serve(stream, seq, sender.subscribe()));
                }
            }
        });
        Self {
            address,
            events,
            serving,
            hangs,
        }
    }

    async fn kill(self) -> String {
        self.serving.abort();
        let _ = self.serving.await;
        self.address.to_string()
    }

    fn publish(&self, event: &UiEvent) {
        if let UiEvent::Change(change) = event {
            let json = serde_json::to_string(change).unwrap();
            self.events
                .send(format!("id: {}\nevent: change\ndata: {json}\n\n", change.seq))
                .unwrap();
        }
    }
}

async fn serve(mut stream: TcpStream, seq: u64, mut events: broadcast::Receiver<String>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let body = match path.split('?').next().unwrap_or("") {
        "/v1/events" => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            while let Ok(text) = events.recv().await {
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            return;
        }
        "/v1/system" => {
            let mut system = system(seq);
            // Nothing listens there: only the event stream is left.
            system.redis.url = "redis+unix:///nonexistent/onceover.sock".into();
            serde_json::to_string(&system).unwrap()
        }
        _ => serde_json::to_string(&TaskPage {
            items: items(),
            next_cursor: None,
            seq,
        })
        .unwrap(),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

/// Feeds the model until `done`; fails when that takes longer than `patience`.
async fn until(
    model: &mut Model,
    incoming: &mut mpsc::Receiver<UiEvent>,
    patience: Duration,
    done: impl Fn(&Model) -> bool,
) {
    let waiting = async {
        while !done(model) {
            let event = incoming.recv().await.expect("the feed goes on");
            update(model, event);
        }
    };
    timeout(patience, waiting).await.expect("in time");
}

#[tokio::test]
async fn d4_a_killed_daemon_is_noticed_within_a_second_and_a_new_one_is_found() {
    let second = Duration::from_secs(1);
    let mut daemon = Daemon::start("127.0.0.1:0", 100).await;
    let base = format!("http://{}", daemon.address);
    let (events, mut incoming) = mpsc::channel(64);
    let (_ask, requests) = mpsc::channel(1);
    tokio::spawn(feed::run(Client::new(&base), None, events, requests));
    let mut model = Model::new(&base, at(0.0), (80, 24));
    for round in 0..2 {
        until(&mut model, &mut incoming, 5 * second, Model::is_live).await;
        assert_eq!(model.store.len(), 5);
        let seq = 101 + round;
        daemon.publish(&change(
            seq,
            "new",
            "a.b",
            EventKind::Queued,
            stage(StageState::Pending),
        ));
        until(&mut model, &mut incoming, second, |model| {
            model.store.seq() == Some(seq)
        })
        .await;
        let address = daemon.kill().await;
        until(&mut model, &mut incoming, second, |model| !model.is_live()).await;
        assert_shows(&model, &["no answer from"]);
        daemon = Daemon::start(&address, seq).await;
    }
}

#[tokio::test]
async fn d4_a_daemon_that_hangs_is_called_slow_after_a_second_and_lost_after_two_and_a_half() {
    let daemon = Daemon::start("127.0.0.1:0", 100).await;
    let base = format!("http://{}", daemon.address);
    let (events, mut incoming) = mpsc::channel(64);
    let (_ask, requests) = mpsc::channel(1);
    tokio::spawn(feed::run(Client::new(&base), None, events, requests));
    let mut model = Model::new(&base, at(0.0), (80, 24));
    until(&mut model, &mut incoming, Duration::from_secs(5), Model::is_live).await;
    let since = Instant::now();
    daemon.hangs.store(true, Ordering::SeqCst);
    until(&mut model, &mut incoming, Duration::from_secs(2), |model| model.slow).await;
    assert!(model.is_live());
    until(&mut model, &mut incoming, Duration::from_secs(3), |model| {
        !model.is_live()
    })
    .await;
    let after = since.elapsed();
    assert!(after >= Duration::from_secs(2), "{after:?}");
    assert!(after < Duration::from_secs(4), "{after:?}");
    assert_shows(&model, &["no answer from"]);
}

#[tokio::test]
async fn a_daemon_without_redis_is_told_from_no_daemon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let body = r#"{"type":"/problems/unavailable","title":"Redis is unreachable","status":503}"#;
            let head = format!(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + body).as_bytes()).await;
        }
    });
    let (events, mut incoming) = mpsc::channel(64);
    let (_ask, requests) = mpsc::channel(1);
    tokio::spawn(feed::run(Client::new(&base), None, events, requests));
    let event = timeout(Duration::from_secs(3), incoming.recv()).await.unwrap().unwrap();
    assert!(
        matches!(
            event,
            UiEvent::Lost {
                missing: MissingPart::Redis,
                ..
            }
        ),
        "{event:?}"
    );
}
