//! Changes at a rate: submits that are answered from finished stages, each of which is an event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    http::{Connection, request},
    seed::{NODES, name_task},
};

/// Connections that send them.
const SENDERS: u64 = 2;
/// Submits of one request.
const AT_ONCE: u64 = 50;

/// Changes under way.
pub struct ChangeLoad {
    is_over: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    begun: Instant,
    senders: Vec<JoinHandle<()>>,
}

impl ChangeLoad {
    /// Begins to make so many changes a second, spread over all tasks, or as many as the daemon takes.
    pub fn begin(port: u16, tasks: usize, per_second: u64) -> Self {
        let (is_over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let begun = Instant::now();
        let senders = (0..SENDERS).map(|sender| {
            let (is_over, made) = (is_over.clone(), made.clone());
            std::thread::spawn(move || {
                let mut client = Connection::open(port);
                let mut requests = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let first = (requests * SENDERS + sender) * AT_ONCE;
                    let due = begun + Duration::from_secs_f64(first as f64 / per_second as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    client.send(&build_request(first, tasks as u64));
                    made.fetch_add(AT_ONCE, Ordering::Relaxed);
                    requests += 1;
                }
            })
        });
        let senders = senders.collect();
        Self {
            is_over,
            made,
            begun,
            senders,
        }
    }

    /// Ends them. Returns how many there were a second.
    pub fn end(self) -> f64 {
        let rate = self.made.load(Ordering::Relaxed) as f64 / self.begun.elapsed().as_secs_f64();
        self.is_over.store(true, Ordering::Relaxed);
        for sender in self.senders {
            sender.join().expect("it sends");
        }
        rate
    }
}

fn build_request(first: u64, tasks: u64) -> Vec<u8> {
    // A step that has no part in common with the number of tasks leads to all of them.
    let numbers = (first..first + AT_ONCE).map(|number| (number * 7_919) % tasks);
    let submits: Vec<Value> = numbers
        .map(|number| json!({"task_name": NODES[0], "task_id": name_task(number as usize), "input_data": {}}))
        .collect();
    request("POST", "/v1/tasks/batch", &json!({ "tasks": submits }).to_string())
}
