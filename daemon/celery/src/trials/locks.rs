//! The lock of workers that share a GPU.

use std::time::Duration;

use futures_util::StreamExt;
use redis::AsyncCommands;
use serde_json::Value;

use super::{Bed, until};
use crate::{LockHolder, WorkerLock};

const KEY: &str = "gpu_lock:0";

fn lock(bed: &Bed, holder: &str, expiry: Duration) -> WorkerLock {
    let socket = bed.dir.path().join("redis.sock");
    let url = format!("redis+socket://{}?virtual_host=2", socket.display());
    WorkerLock::new("redis", &url, KEY, holder, expiry).unwrap()
}

#[tokio::test]
async fn a_lock_is_kept_by_its_holder_and_another_client_learns_who_has_it() {
    let bed = Bed::start().await;
    let minute = Duration::from_secs(60);
    let (first, second) = (lock(&bed, "a#1", minute), lock(&bed, "b#1", minute));
    assert_eq!(first.take().await, Ok(LockHolder::Us));
    let mut raw = bed.raw(2).await;
    raw.pexpire::<_, ()>(KEY, 20_000).await.unwrap();
    let Ok(LockHolder::Other { name, expires_in }) = second.take().await else {
        panic!("the first has it");
    };
    assert_eq!(name, "locked_by_a#1");
    assert!(expires_in.is_some_and(|left| left <= Duration::from_secs(20)));
    assert_eq!(first.take().await, Ok(LockHolder::Us));
    let left: i64 = raw.pttl(KEY).await.unwrap();
    assert!(left > 50_000, "it is renewed: {left} ms");
    assert_eq!(second.release().await, Ok(false));
    let name: Option<String> = raw.get(KEY).await.unwrap();
    assert_eq!(name.as_deref(), Some("locked_by_a#1"));
    assert_eq!(first.release().await, Ok(true));
    assert_eq!(second.take().await, Ok(LockHolder::Us));
}

#[tokio::test]
async fn a_lock_of_an_earlier_start_is_taken_over_and_one_without_an_expiry_is_not() {
    let bed = Bed::start().await;
    let minute = Duration::from_secs(60);
    assert_eq!(lock(&bed, "box#1", minute).take().await, Ok(LockHolder::Us));
    assert_eq!(lock(&bed, "box#2", minute).take().await, Ok(LockHolder::Us));
    let other = lock(&bed, "bo#3", minute).take().await;
    assert!(matches!(other, Ok(LockHolder::Other { .. })), "{other:?}");
    let mut raw = bed.raw(2).await;
    raw.set::<_, _, ()>(KEY, "locked_by_whisper").await.unwrap();
    let held = LockHolder::Other {
        name: "locked_by_whisper".into(),
        expires_in: None,
    };
    assert_eq!(lock(&bed, "box#2", minute).take().await, Ok(held));
}

#[tokio::test]
async fn a_lock_whose_holder_is_not_heard_of_expires() {
    let bed = Bed::start().await;
    let lost = lock(&bed, "a#1", Duration::from_millis(100));
    assert_eq!(lost.take().await, Ok(LockHolder::Us));
    let next = lock(&bed, "b#1", Duration::from_secs(60));
    until("the lock has expired", async || next.take().await == Ok(LockHolder::Us)).await;
    assert_eq!(lost.release().await, Ok(false), "it is another's now");
}

#[tokio::test]
async fn those_who_wait_for_a_lock_hear_that_it_was_given_back() {
    let bed = Bed::start().await;
    let held = lock(&bed, "a#1", Duration::from_secs(60));
    assert_eq!(held.take().await, Ok(LockHolder::Us));
    let socket = bed.dir.path().join("redis.sock");
    let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
    let mut waiting = client.get_async_pubsub().await.unwrap();
    waiting.subscribe("gpu_lock:gpu_lock:0").await.unwrap();
    assert_eq!(held.release().await, Ok(true));
    let mut heard = waiting.into_on_message();
    let next = tokio::time::timeout(Duration::from_secs(10), heard.next()).await;
    let message = next.expect("it comes within 10 s").expect("the connection stands");
    let message: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
    assert_eq!(message["event_type"], "lock_released");
    assert_eq!(message["lock_key"], KEY);
    assert_eq!(message["task_name"], "a#1");
    assert!(message["timestamp"].as_f64().is_some_and(|at| at > 0.0), "{message}");
}

#[tokio::test]
async fn a_key_that_is_no_lock_is_an_error_that_names_the_server() {
    let bed = Bed::start().await;
    let mut raw = bed.raw(2).await;
    raw.rpush::<_, _, ()>(KEY, "a").await.unwrap();
    let error = lock(&bed, "a#1", Duration::from_secs(60)).take().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the Redis of the GPU lock redis+socket://"), "{text}");
    assert!(text.contains("refused EVAL"), "{text}");
}
