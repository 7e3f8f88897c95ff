//! The client against a real Redis. Where a worker is needed, one of these tests does what a worker does.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use onceover_limits::Limit;
use onceover_types::{RunId, TaskId};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    BrokerSettings, CeleryClient, CeleryError, CeleryNews, Envelope, LARGEST_RESULT, MOST_SEARCHED, MessageId,
    MessageLimits, Origin, PoolKind, PushError, ResultState, TermSignal, TerminateOutcome, Whereabouts, WorkerEvent,
    kombu::{KombuRoute, read_message, write_message},
};

mod brokers;
mod locks;

/// Longer than any reply takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A separate Redis with broker database 2 and results in 3, and a client of it.
struct Bed {
    dir: TempDir,
    server: Child,
    client: CeleryClient,
}

impl Bed {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// Adds options to both URLs.
    async fn start_with(query: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("ooc").tempdir().unwrap();
        let server = start_server(&dir).await;
        let socket = dir.path().join("redis.sock");
        let url = |database: u8| format!("redis+socket://{}?virtual_host={database}{query}", socket.display());
        let settings = BrokerSettings::parse(&url(2), Some(&url(3))).unwrap();
        let client = CeleryClient::new(&settings);
        Self { dir, server, client }
    }

    /// A connection of another client to a database.
    async fn raw(&self, database: u8) -> MultiplexedConnection {
        let socket = self.dir.path().join("redis.sock");
        let url = format!("redis+unix://{}?db={database}", socket.display());
        let client = redis::Client::open(url).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    fn stop_server(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn start_server(dir: &TempDir) -> Child {
    let socket = dir.path().join("redis.sock");
    let server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed (make deps)");
    until("Redis takes connections", async || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    })
    .await;
    server
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "not in 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn message(queue: &str) -> (MessageId, Envelope) {
    let id = MessageId::generate();
    let origin = Origin {
        sender: "onceoverd@h".into(),
        task: TaskId::parse("t1").unwrap(),
        run: RunId::generate(),
        attempt: 1,
    };
    let kwargs = json!({"context": {}});
    let envelope = Envelope::new(&id, "probe.noop", queue, &kwargs, &origin, &MessageLimits::default());
    (id, envelope)
}

/// The message as a worker that stops writes it back.
fn put_back(envelope: &Envelope) -> String {
    let mut message: Value = serde_json::from_slice(envelope.bytes()).unwrap();
    message["headers"]["redelivered"] = json!(true);
    message["properties"]["delivery_info"]["redelivered"] = json!(true);
    message.to_string()
}

#[tokio::test]
async fn a_message_is_taken_back_once_and_the_others_stay() {
    let bed = Bed::start().await;
    let (first, second) = (message("q"), message("q"));
    for (_, envelope) in [&first, &second] {
        bed.client.push("q", envelope.bytes()).await.unwrap();
    }
    assert_eq!(bed.client.depth("q").await, Ok(2));
    assert_eq!(bed.client.take_back("q", first.1.bytes()).await, Ok(true));
    assert_eq!(bed.client.take_back("q", first.1.bytes()).await, Ok(false));
    let mut worker = bed.raw(2).await;
    let taken: Vec<u8> = redis::cmd("RPOP").arg("q").query_async(&mut worker).await.unwrap();
    assert_eq!(taken, second.1.bytes());
    assert_eq!(bed.client.take_back("q", second.1.bytes()).await, Ok(false));
}

#[tokio::test]
async fn a_message_that_a_worker_put_back_with_other_bytes_is_found_and_taken_back() {
    let bed = Bed::start().await;
    let mut worker = bed.raw(2).await;
    for list in ["q", "q\u{6}\u{16}9"] {
        let (id, envelope) = message("q");
        for _ in 0..50 {
            let (_, other) = message("q");
            let mut push = redis::cmd("RPUSH");
            push.arg(list).arg(other.bytes());
            push.query_async::<()>(&mut worker).await.unwrap();
        }
        let mut push = redis::cmd("LPUSH");
        push.arg(list).arg(put_back(&envelope));
        push.query_async::<()>(&mut worker).await.unwrap();
        let found = bed.client.locate("q", &id, envelope.bytes()).await;
        let position = bed.client.depth("q").await.unwrap() - 1;
        assert_eq!(found, Ok(Whereabouts::Queued { position }), "{list:?}");
        assert_eq!(bed.client.take_back("q", envelope.bytes()).await, Ok(true), "{list:?}");
        assert_eq!(
            bed.client.locate("q", &id, envelope.bytes()).await,
            Ok(Whereabouts::Nowhere)
        );
    }
    assert_eq!(bed.client.depth("q").await, Ok(100), "no other message was taken");
}

#[tokio::test]
async fn a_message_is_located_in_its_queue_with_a_worker_and_nowhere() {
    let bed = Bed::start_with("&global_keyprefix=a:").await;
    let (first, second) = (message("q"), message("q"));
    bed.client.push("q", first.1.bytes()).await.unwrap();
    bed.client.push("q", second.1.bytes()).await.unwrap();
    let (id, envelope) = &second;
    let locate = async || bed.client.locate("q", id, envelope.bytes()).await;
    assert_eq!(locate().await, Ok(Whereabouts::Queued { position: 1 }));
    let mut worker = bed.raw(2).await;
    redis::cmd("LPOP")
        .arg("a:q")
        .query_async::<()>(&mut worker)
        .await
        .unwrap();
    assert_eq!(locate().await, Ok(Whereabouts::Nowhere));
    let taken: Value = serde_json::from_slice(envelope.bytes()).unwrap();
    let mut take = redis::cmd("HSET");
    take.arg("a:unacked")
        .arg("tag")
        .arg(json!([taken, "", "q"]).to_string());
    take.query_async::<()>(&mut worker).await.unwrap();
    assert_eq!(locate().await, Ok(Whereabouts::Unacked));
}

#[tokio::test]
async fn a_queue_that_is_too_long_to_be_searched_is_an_error_and_not_nowhere() {
    let bed = Bed::start().await;
    let mut other = bed.raw(2).await;
    let mut push = redis::cmd("LPUSH");
    push.arg("q").arg(vec!["{}"; MOST_SEARCHED + 100]);
    push.query_async::<()>(&mut other).await.unwrap();
    let (id, envelope) = message("q");
    let before = Limit::SearchedMessages.times_reached();
    let found = bed.client.locate("q", &id, envelope.bytes()).await;
    assert!(matches!(found, Err(CeleryError::TooLong { .. })), "{found:?}");
    assert!(Limit::SearchedMessages.times_reached() > before);
    let taken = bed.client.take_back("q", envelope.bytes()).await;
    assert!(matches!(taken, Err(CeleryError::TooLong { .. })), "{taken:?}");
}

#[tokio::test]
async fn results_come_in_the_order_asked_and_one_that_is_too_large_keeps_none_from_being_read() {
    let bed = Bed::start().await;
    let mut worker = bed.raw(3).await;
    let ids = [(); 4].map(|()| MessageId::generate());
    let success = json!({"status": "SUCCESS", "result": 7, "children": null}).to_string();
    for (id, record) in [
        (&ids[0], "x".repeat(LARGEST_RESULT + 1)),
        (&ids[2], success),
        (&ids[3], "{".into()),
    ] {
        let mut set = redis::cmd("SET");
        set.arg(format!("celery-task-meta-{id}")).arg(record);
        set.query_async::<()>(&mut worker).await.unwrap();
    }
    let results = bed.client.results(&ids).await.unwrap();
    let states: Vec<Option<&ResultState>> = results
        .iter()
        .map(|result| result.as_ref().map(|it| &it.state))
        .collect();
    assert!(
        matches!(states[0], Some(ResultState::Unreadable(why)) if why.contains("at most 16 MiB")),
        "{states:?}"
    );
    assert_eq!(states[1], None);
    assert_eq!(states[2], Some(&ResultState::Success));
    assert!(matches!(states[3], Some(ResultState::Unreadable(_))), "{states:?}");
}

#[tokio::test]
async fn results_are_read_and_heard_under_both_spellings_of_a_prefix() {
    let bed = Bed::start_with("&global_keyprefix=a:").await;
    let mut news = bed.client.follow();
    assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected);
    let mut worker = bed.raw(3).await;
    let ids = [(); 2].map(|()| MessageId::generate());
    let record = json!({"status": "SUCCESS"}).to_string();
    for (prefix, id) in [("a:_", &ids[0]), ("a:", &ids[1])] {
        let key = format!("{prefix}celery-task-meta-{id}");
        let mut write = redis::pipe();
        write.cmd("SET").arg(&key).arg(&record);
        write.cmd("PUBLISH").arg(&key).arg(&record);
        write.query_async::<()>(&mut worker).await.unwrap();
        let heard = next_news(&mut news).await;
        assert!(
            matches!(&heard, CeleryNews::Result(result) if result.id == *id),
            "{heard:?}"
        );
    }
    let results = bed.client.results(&ids).await.unwrap();
    assert!(results.iter().all(Option::is_some), "{results:?}");
}

/// Answers control requests as a worker does, until the test ends.
fn answer_requests(bed: &Bed, hostname: &'static str, answer: fn(&Value) -> Option<Value>) -> Subscriber {
    let socket = bed.dir.path().join("redis.sock");
    let client = redis::Client::open(format!("redis+unix://{}?db=2", socket.display())).unwrap();
    answer_requests_at(client, "/2.celery.pidbox", hostname, answer)
}

/// The same on the channel of a database of any server.
fn answer_requests_at(
    client: redis::Client,
    channel: &'static str,
    hostname: &'static str,
    answer: fn(&Value) -> Option<Value>,
) -> Subscriber {
    let (ready, is_ready) = mpsc::channel(1);
    let answering = tokio::spawn(async move {
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut heard = client.get_async_pubsub().await.unwrap();
        heard.subscribe(channel).await.unwrap();
        ready.send(()).await.unwrap();
        let mut requests = heard.into_on_message();
        while let Some(request) = requests.next().await {
            let request = read_message("the request", request.get_payload_bytes()).unwrap().body;
            let (Some(answer), Some(asker)) = (answer(&request), request["reply_to"]["routing_key"].as_str()) else {
                continue;
            };
            let bindings: Vec<String> = redis::cmd("SMEMBERS")
                .arg("_kombu.binding.reply.celery.pidbox")
                .query_async(&mut connection)
                .await
                .unwrap();
            let list = format!("{asker}.reply.celery.pidbox");
            assert!(bindings.iter().any(|binding| binding.ends_with(&list)), "{bindings:?}");
            let route = KombuRoute {
                exchange: "reply.celery.pidbox",
                routing_key: asker,
            };
            let headers = json!({"ticket": request["ticket"], "clock": 1});
            let reply = write_message(&headers, &json!({hostname: answer}), &route, "");
            let mut push = redis::cmd("LPUSH");
            push.arg(list).arg(reply);
            push.query_async::<()>(&mut connection).await.unwrap();
        }
    });
    Subscriber { answering, is_ready }
}

/// A worker of a test.
struct Subscriber {
    answering: JoinHandle<()>,
    is_ready: mpsc::Receiver<()>,
}

impl Subscriber {
    async fn ready(mut self) -> Self {
        self.is_ready.recv().await.expect("the worker listens");
        self
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

fn as_worker(request: &Value) -> Option<Value> {
    match request["method"].as_str()? {
        "active_queues" => Some(json!([{"name": "q"}])),
        "stats" => Some(
            json!({"pid": 7, "pool": {"implementation": "celery.concurrency.prefork:TaskPool",
            "max-concurrency": 2}}),
        ),
        "registered" => Some(json!(["probe.noop"])),
        "revoke" => {
            let id = request["arguments"]["task_id"][0].as_str()?;
            Some(json!({"ok": format!("terminate: {id}")}))
        }
        _ => None,
    }
}

#[tokio::test]
async fn workers_are_asked_and_nothing_of_the_question_is_left() {
    let bed = Bed::start().await;
    let _worker = answer_requests(&bed, "w1@h", as_worker).ready().await;
    let begun = Instant::now();
    let survey = bed.client.survey(PATIENCE).await.unwrap();
    assert!(begun.elapsed() < PATIENCE, "it ends as all have replied");
    assert_eq!((survey.connected, survey.mute()), (1, 0));
    let report = &survey.reports[0];
    assert_eq!(
        (report.hostname.as_str(), &report.queues[..]),
        ("w1@h", &["q".to_owned()][..])
    );
    assert_eq!((&report.pool, report.concurrency), (&Some(PoolKind::Prefork), Some(2)));
    let survey = bed.client.survey_with_tasks(PATIENCE).await.unwrap();
    assert_eq!(survey.reports[0].registered, ["probe.noop"]);
    let id = MessageId::generate();
    let ended = bed.client.terminate(&id, TermSignal::Term, PATIENCE).await.unwrap();
    assert_eq!(ended[0].outcome, TerminateOutcome::Signalled);
    let mut other = bed.raw(2).await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut other).await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_mute_worker_is_counted_and_nobody_at_all_is_known_at_once() {
    let bed = Bed::start().await;
    let begun = Instant::now();
    let survey = bed.client.survey(PATIENCE).await.unwrap();
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!((survey.connected, survey.reports.len()), (0, 0));
    let _mute = answer_requests(&bed, "s1@h", |_| None).ready().await;
    let survey = bed.client.survey(Duration::from_millis(50)).await.unwrap();
    assert_eq!((survey.mute(), survey.reports.len()), (1, 0));
}

async fn next_news(news: &mut mpsc::Receiver<CeleryNews>) -> CeleryNews {
    let next = tokio::time::timeout(Duration::from_secs(10), news.recv()).await;
    next.expect("news come within 10 s").expect("the client follows")
}

#[tokio::test]
async fn results_and_events_are_heard_over_one_connection_and_a_break_is_announced() {
    let bed = Bed::start().await;
    let mut news = bed.client.follow();
    assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected);
    let mut worker = bed.raw(0).await;
    let id = MessageId::generate();
    let record = json!({"status": "STARTED", "result": {"pid": 7, "hostname": "w@h"}}).to_string();
    let event = json!({"type": "worker-offline", "hostname": "w@h"});
    let route = KombuRoute {
        exchange: "celeryev",
        routing_key: "worker.offline",
    };
    let event = write_message(&json!({}), &event, &route, "");
    for (channel, payload) in [
        (format!("celery-task-meta-{id}"), record.clone()),
        ("celery-task-meta-of-another-client".into(), record.clone()),
        ("/2.celeryev/worker.offline".into(), "no event".into()),
        ("/0.celeryev/worker.offline".into(), event.clone()),
        ("/2.celeryev/worker.offline".into(), event),
    ] {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(channel).arg(payload);
        publish.query_async::<()>(&mut worker).await.unwrap();
    }
    let CeleryNews::Result(result) = next_news(&mut news).await else {
        panic!("the result comes first");
    };
    assert_eq!(
        (result.id, result.state, result.pid),
        (id, ResultState::Started, Some(7))
    );
    let heard = next_news(&mut news).await;
    assert!(
        matches!(heard, CeleryNews::Event(WorkerEvent::Offline { .. })),
        "{heard:?}"
    );
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("pubsub");
    let killed: u64 = kill.query_async(&mut worker).await.unwrap();
    assert_eq!(killed, 1, "one connection hears both");
    assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected);
    drop(news);
    until("nobody subscribes any more", async || {
        let mut count = redis::cmd("PUBSUB");
        count.arg("NUMPAT");
        let patterns: Result<u64, redis::RedisError> = count.query_async(&mut worker).await;
        matches!(patterns, Ok(0))
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_restarted_is_used_again() {
    let mut bed = Bed::start().await;
    let (_, envelope) = message("q");
    bed.client.push("q", envelope.bytes()).await.unwrap();
    bed.stop_server();
    let failed = bed.client.push("q", envelope.bytes()).await;
    assert!(failed.is_err());
    // The connection is known to be broken by now.
    let failed = bed.client.push("q", envelope.bytes()).await;
    assert!(matches!(failed, Err(PushError::NotSent(_))), "{failed:?}");
    bed.server = start_server(&bed.dir).await;
    until("the client reaches Redis again", async || {
        bed.client.depth("q").await == Ok(0)
    })
    .await;
    assert_eq!(bed.client.push("q", envelope.bytes()).await, Ok(()));
}

#[tokio::test]
async fn what_redis_refuses_was_not_sent() {
    let bed = Bed::start().await;
    let mut other = bed.raw(2).await;
    redis::cmd("SET")
        .arg("q")
        .arg("1")
        .query_async::<()>(&mut other)
        .await
        .unwrap();
    let (_, envelope) = message("q");
    let refused = bed.client.push("q", envelope.bytes()).await;
    let Err(PushError::NotSent(CeleryError::Refused { command, reason, .. })) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*command, "LPUSH");
    assert!(
        reason.contains("WRONGTYPE") || reason.contains("wrong kind"),
        "{reason}"
    );
}

/// A Redis with a port, and a Sentinel that watches it as `main`.
struct Watched {
    url: String,
    programs: [Child; 2],
    _dir: TempDir,
}

impl Watched {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("ooc").tempdir().unwrap();
        let (redis, sentinel) = (free_port(), free_port());
        let conf = dir.path().join("sentinel.conf");
        let watch = format!("bind 127.0.0.1\nport {sentinel}\nsentinel monitor main 127.0.0.1 {redis} 1\n");
        std::fs::write(&conf, watch).unwrap();
        let run = |arguments: &[&str]| {
            Command::new("redis-server")
                .args(arguments)
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed (make deps)")
        };
        let port = redis.to_string();
        let master = run(&[
            "--port",
            port.as_str(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let programs = [master, run(&[conf.to_str().unwrap(), "--sentinel"])];
        Self {
            url: format!(
                "sentinel://127.0.0.1:{}/2;sentinel://127.0.0.1:{sentinel}/2",
                free_port()
            ),
            programs,
            _dir: dir,
        }
    }

    fn client(&self, master: &str) -> CeleryClient {
        let url = format!("{}?master_name={master}", self.url);
        let settings = BrokerSettings::parse(&url, None).unwrap();
        CeleryClient::new(&settings)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn behind_sentinel_the_master_is_found_though_one_sentinel_is_missing() {
    let watched = Watched::start();
    let client = watched.client("main");
    until("Sentinel and the master answer", async || {
        client.depth("q").await.is_ok()
    })
    .await;
    let (id, envelope) = message("q");
    client.push("q", envelope.bytes()).await.unwrap();
    let found = client.locate("q", &id, envelope.bytes()).await;
    assert_eq!(found, Ok(Whereabouts::Queued { position: 0 }));
    let mut news = client.follow();
    assert_eq!(next_news(&mut news).await, CeleryNews::Reconnected);
    let error = watched.client("other").depth("q").await.expect_err("no such master");
    let text = error.to_string();
    assert!(text.contains("it knows no master \"other\""), "{text}");
}
