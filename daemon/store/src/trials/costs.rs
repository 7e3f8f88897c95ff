//! What a call of each script costs Redis. Each call that the life of the trials makes is repeated on the state that it was
//! made on, and what counts is the time that Redis itself reports for EVALSHA, so neither the network nor this program
//! is measured. `make script-costs` runs it; run it on two commits to compare them.

use std::sync::Mutex;

use redis::{Pipeline, Script};

use super::{
    super::{Store, args::ScriptArgs, scripts},
    Bed, life,
};

/// Repetitions of a call, if `ONCEOVER_SCRIPT_CALLS` says nothing else.
const REPETITIONS: usize = 10_000;
/// Calls of one script that are measured: the first ones, which differ in what they find.
const MOST_CALLS: usize = 4;
/// Repetitions that are sent to Redis at a time.
const BATCH: usize = 10;

/// A key as it was before a call.
struct DumpedKey {
    name: Vec<u8>,
    /// Milliseconds that it has left; negative without an expiry.
    ttl_ms: i64,
    dump: Vec<u8>,
}

/// A call, and what Redis held before it.
pub(super) struct RecordedCall {
    script: &'static str,
    /// Names and values in turns, as they are sent.
    arguments: Vec<String>,
    keys: Vec<DumpedKey>,
}

/// Records the calls of a life, once it was started.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Option<Vec<RecordedCall>>>);

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    fn start(&self) {
        *self.0.lock().unwrap() = Some(Vec::new());
    }

    fn finish(&self) -> Vec<RecordedCall> {
        self.0.lock().unwrap().take().unwrap_or_default()
    }

    fn wants(&self, script: &str) -> bool {
        let recorded = self.0.lock().unwrap();
        recorded
            .as_ref()
            .is_some_and(|calls| calls.iter().filter(|call| call.script == script).count() < MOST_CALLS)
    }

    /// Records a call that is about to be made, if it is one of those that are measured.
    pub(super) async fn record(&self, store: &Store, script: &'static str, args: &ScriptArgs<'_>) {
        if !self.wants(script) {
            return;
        }
        let call = RecordedCall {
            script,
            arguments: args
                .present()
                .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
                .collect(),
            keys: dump_keys(store).await,
        };
        if let Some(calls) = self.0.lock().unwrap().as_mut() {
            calls.push(call);
        }
    }
}

async fn send<T: redis::FromRedisValue>(store: &Store, pipe: &Pipeline) -> T {
    let mut redis = store.redis.clone();
    store.limited(pipe.query_async(&mut redis)).await.unwrap()
}

async fn dump_keys(store: &Store) -> Vec<DumpedKey> {
    let names: Vec<Vec<u8>> = store.ask(&["KEYS", "*"]).await.unwrap();
    let mut keys = Vec::new();
    for name in names {
        let mut pipe = redis::pipe();
        pipe.cmd("PTTL").arg(&name).cmd("DUMP").arg(&name);
        let (ttl_ms, dump): (i64, Option<Vec<u8>>) = send(store, &pipe).await;
        // It may have expired in between.
        if let Some(dump) = dump {
            keys.push(DumpedKey { name, ttl_ms, dump });
        }
    }
    keys
}

/// Adds what brings Redis back to the state before a call.
fn add_reset(pipe: &mut Pipeline, call: &RecordedCall) {
    pipe.cmd("FLUSHDB").arg("SYNC").ignore();
    for key in &call.keys {
        pipe.cmd("RESTORE")
            .arg(&key.name)
            .arg(key.ttl_ms.max(0))
            .arg(&key.dump)
            .ignore();
    }
}

fn add_call(pipe: &mut Pipeline, call: &RecordedCall, script: &Script) {
    pipe.cmd("EVALSHA").arg(script.get_hash()).arg(0);
    for argument in &call.arguments {
        pipe.arg(argument);
    }
    pipe.ignore();
}

/// How many calls of EVALSHA Redis has counted, and how many microseconds they took.
async fn read_evalsha_stats(store: &Store) -> (u64, u64) {
    let info: String = store.ask(&["INFO", "commandstats"]).await.unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let number = |wanted: &str| {
        let parts = line.into_iter().flat_map(|line| line.split(','));
        let mut values = parts.filter_map(|part| part.split_once('='));
        let found = values.find(|(name, _)| *name == wanted);
        found.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    };
    (number("calls"), number("usec"))
}

/// Repeats a call, and returns the microseconds that one takes.
async fn measure(store: &Store, call: &RecordedCall, repetitions: usize) -> f64 {
    let at = scripts::NAMES.iter().position(|name| *name == call.script);
    let script = scripts::list_all()[at.expect("a recorded script is in the list")];
    let mut first = redis::pipe();
    add_reset(&mut first, call);
    send::<()>(store, &first).await;
    let before = store.everything().await;
    let mut once = redis::pipe();
    add_call(&mut once, call, script);
    send::<()>(store, &once).await;
    // What changes nothing needs no reset between its calls.
    let has_changed = store.everything().await != before;
    let mut batch = redis::pipe();
    for _ in 0..BATCH {
        if has_changed {
            add_reset(&mut batch, call);
        }
        add_call(&mut batch, call, script);
    }
    let (calls_before, micros_before) = read_evalsha_stats(store).await;
    for _ in 0..repetitions.div_ceil(BATCH) {
        send::<()>(store, &batch).await;
    }
    let (calls, micros) = read_evalsha_stats(store).await;
    (micros - micros_before) as f64 / (calls - calls_before).max(1) as f64
}

#[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
#[tokio::test]
#[ignore = "make script-costs runs it: it measures for minutes"]
async fn the_cost_of_a_call_of_each_script() {
    let wanted = std::env::var("ONCEOVER_SCRIPT_CALLS").ok();
    let repetitions = wanted.map_or(REPETITIONS, |text| text.parse().unwrap());
    let bed = Bed::start(false).await;
    bed.rehearsal.recorder.start();
    life::live(&bed, life::Size::small()).await;
    let calls = bed.rehearsal.recorder.finish();
    println!("microseconds a call, {repetitions} calls each");
    let mut way_of_a_run = 0.0;
    for name in scripts::NAMES {
        let of_script = calls.iter().filter(|call| call.script == *name);
        for (number, call) in of_script.enumerate() {
            let micros = measure(&bed.store, call, repetitions).await;
            println!("{name:<28} {:>2} {micros:>9.1}", number + 1);
            if number == 0 && ["SUBMIT", "CLAIM", "FINISH"].contains(name) {
                way_of_a_run += micros;
            }
        }
    }
    println!("{:<28} {:>2} {way_of_a_run:>9.1}", "SUBMIT + CLAIM + FINISH", 1);
}
