//! The feed against a daemon that is killed and comes back: what it says, and how soon.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use onceover_tui::{
    driver, feed,
    model::{MissingPart, Model, reads::READS_PER_SECOND},
    update::{Effect, UiEvent, update},
};
use onceover_types::{StageState, Timestamp};
use onceover_wire::{EventKind, RowPage, client::Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{broadcast, mpsc},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::fixture::*;

/// A daemon's worth of HTTP: figures, one page of tasks, and an event stream.
struct Daemon {
    address: std::net::SocketAddr,
    asked: Requests,
    events: broadcast::Sender<String>,
    serving: JoinHandle<()>,
    /// Whether it accepts connections and answers nothing, as one that is stopped.
    hangs: Arc<AtomicBool>,
}

impl Daemon {
    async fn start(address: &str, seq: u64) -> Self {
        Self::start_with(address, seq, Tasks::Few).await
    }

    async fn start_with(address: &str, seq: u64, tasks: Tasks) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let (events, _) = broadcast::channel(4_096);
        let asked = Requests::default();
        let (sender, requests) = (events.clone(), asked.clone());
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
                    connections.spawn(serve(stream, seq, tasks, requests.clone(), sender.subscribe()));
                }
            }
        });
        Self {
            address,
            asked,
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
        publish_to(&self.events, event);
    }
}

fn publish_to(events: &broadcast::Sender<String>, event: &UiEvent) {
    if let UiEvent::Change(change) = event {
        let json = serde_json::to_string(change).unwrap();
        events
            .send(format!("id: {}\nevent: change\ndata: {json}\n\n", change.seq))
            .unwrap();
    }
}

/// The requests that a daemon got: when, and for what.
type Requests = Arc<Mutex<Vec<(Instant, String)>>>;

/// The tasks that a daemon has.
#[derive(Clone, Copy)]
enum Tasks {
    /// Those of the fixture.
    Few,
    /// More than the feed reads.
    Many,
}

impl Tasks {
    fn page(self, seq: u64) -> RowPage {
        let done = [("a.b", stage(StageState::Success))];
        match self {
            Self::Few => RowPage {
                rows: items().into_iter().map(row_of).collect(),
                next_cursor: None,
                seq,
            },
            Self::Many => RowPage {
                rows: vec![row_of(item("loaded", 1.0, &done))],
                next_cursor: Some("more".into()),
                seq,
            },
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    seq: u64,
    tasks: Tasks,
    asked: Requests,
    mut events: broadcast::Receiver<String>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    asked.lock().unwrap().push((Instant::now(), path.clone()));
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
        "/v1/rows" => serde_json::to_string(&tasks.page(seq)).unwrap(),
        path => {
            let task = path.trim_start_matches("/v1/tasks/");
            serde_json::to_string(&task_view(task, "a.b", StageState::Running)).unwrap()
        }
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

/// Takes in what the feed says until the time, and carries out the calls, as the driver does.
async fn run_for(model: &mut Model, client: &Client, incoming: &mut mpsc::Receiver<UiEvent>, time: Duration) {
    let (replies, mut answered) = mpsc::channel(256);
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let event = tokio::select! {
            Some(event) = incoming.recv() => Some(event),
            Some(event) = answered.recv() => Some(event),
            () = sleep(left.min(Duration::from_millis(20))) => None,
        };
        let mut effects = update(model, UiEvent::Time(Timestamp::now()));
        effects.extend(event.into_iter().flat_map(|event| update(model, event)));
        for effect in effects {
            let Effect::Call { id, call } = effect else { continue };
            let (client, replies) = (client.clone(), replies.clone());
            tokio::spawn(async move {
                let reply = driver::send_call(&client, call).await;
                let _ = replies.send(UiEvent::Reply { id, reply }).await;
            });
        }
    }
}

#[tokio::test]
async fn changes_of_tasks_that_are_not_loaded_cost_a_few_requests_a_second_whatever_their_rate() {
    const CHANGES_PER_SECOND: u64 = 500;
    const SECONDS: u64 = 3;
    let daemon = Daemon::start_with("127.0.0.1:0", 100, Tasks::Many).await;
    let base = format!("http://{}", daemon.address);
    let client = Client::new(&base);
    let (events, mut incoming) = mpsc::channel(4_096);
    let (_ask, requests) = mpsc::channel(1);
    tokio::spawn(feed::run(client.clone(), None, events, requests));
    let mut model = Model::new(&base, Timestamp::now(), (120, 36));
    let is_read = |model: &Model| model.is_live() && !model.store.is_loading();
    until(&mut model, &mut incoming, Duration::from_secs(30), is_read).await;
    assert!(!model.store.complete, "there are more than the feed reads");
    let loaded = daemon.asked.lock().unwrap().len();
    let sender = daemon.events.clone();
    tokio::spawn(async move {
        for number in 0..CHANGES_PER_SECOND * SECONDS {
            let running = stage(StageState::Running);
            let event = change(
                101 + number,
                &format!("far-{number}"),
                "a.b",
                EventKind::Started,
                running,
            );
            publish_to(&sender, &event);
            sleep(Duration::from_millis(1_000 / CHANGES_PER_SECOND)).await;
        }
    });
    run_for(&mut model, &client, &mut incoming, Duration::from_secs(SECONDS)).await;
    assert!(
        model.store.len() > 100,
        "the changes are shown: {} tasks",
        model.store.len()
    );
    let asked: Vec<_> = daemon.asked.lock().unwrap().split_off(loaded);
    // How long nodes take is read once, at the start.
    let asked: Vec<_> = asked
        .into_iter()
        .filter(|(_, path)| path != "/v1/nodes/statistics")
        .collect();
    assert!(
        asked.iter().any(|(_, path)| path.starts_with("/v1/tasks/far-")),
        "{asked:?}"
    );
    // A request may arrive sooner or later after it was sent than another: the first ones connect first.
    let second = Duration::from_millis(750);
    for (index, (at, _)) in asked.iter().enumerate() {
        let within = asked[index..]
            .iter()
            .take_while(|(other, _)| *other - *at < second)
            .count();
        // The daemon is checked twice a second.
        assert!(
            within <= READS_PER_SECOND + 2,
            "{within} requests in a second: {asked:?}"
        );
    }
}
