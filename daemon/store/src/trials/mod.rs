//! Every script against a real Redis: at its largest allowed arguments, where Redis is full, and what it costs. A script that
//! fails after its first write, or that a full Redis lets begin, would leave a record half written.

mod claims;
mod costs;
mod dispatches;
mod history;
mod hits;
mod life;
mod machine;
mod reads;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use redis::{Script, Value};
use tempfile::TempDir;

use super::{Bounds, RedisMode, Store, StoreError, StoreOptions, args::ScriptArgs, scripts};

/// Scripts that only give memory back, or only read: a full Redis lets them go on.
const GIVES_BACK: [&str; 11] = [
    "DIRECTORY_LEAVE",
    "DELETE",
    "DISPATCH_FORGET",
    "RELEASE",
    "EXPIRE",
    "TOTALS",
    "UPLOAD_FORGET",
    "UPLOAD_TAKE",
    "COLLECTED",
    "VIDEO_DELETE",
    "DELIVERIES",
];

/// What a store does with each script before it is run for good.
#[derive(Debug, Default)]
pub struct Rehearsal {
    /// Tries each where Redis is full first.
    is_full_tried: bool,
    /// The scripts that were run, with the names of the arguments that they got.
    ran: Mutex<BTreeMap<&'static str, BTreeSet<&'static str>>>,
    /// The calls whose cost is measured.
    recorder: costs::Recorder,
}

/// A separate Redis, and a store on it.
pub struct Bed {
    pub store: Store,
    rehearsal: Arc<Rehearsal>,
    server: Child,
    _dir: TempDir,
}

impl Bed {
    async fn start(is_full_tried: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("oos").tempdir().unwrap();
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
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "Redis does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let options = StoreOptions {
            url: format!("redis+unix://{}?db=0", socket.display()),
            mode: RedisMode::External,
            ttl: Duration::from_secs(600),
            keep_events: 1000,
            keep_runs: 3,
            lease: Duration::from_secs(7),
            max_lost: 1,
            keep_callbacks: 5,
            bounds: Bounds {
                callbacks: life::MOST,
                input: 4 << 20,
                task_input: 64 << 20,
            },
        };
        let names = life::NODES.map(|name| name.parse().unwrap());
        let mut store = Store::open(options, names, Arc::new(())).unwrap();
        let rehearsal = Arc::new(Rehearsal {
            is_full_tried,
            ran: Mutex::default(),
            recorder: costs::Recorder::default(),
        });
        store.rehearsal = Some(Arc::clone(&rehearsal));
        let bed = Self {
            store,
            rehearsal,
            server,
            _dir: dir,
        };
        bed.store.prepare().await.unwrap();
        bed
    }

    /// Asks Redis itself.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.store.ask(words).await.unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn name_of(script: &Script) -> &'static str {
    let at = scripts::list_all()
        .iter()
        .position(|one| one.get_hash() == script.get_hash());
    scripts::NAMES[at.expect("a script is in the list")]
}

impl Store {
    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, StoreError> {
        let mut redis = self.redis.clone();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        self.limited(command.query_async(&mut redis)).await
    }

    /// Every key and what it holds.
    async fn everything(&self) -> BTreeMap<String, Vec<u8>> {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]).await.unwrap();
        let mut all = BTreeMap::new();
        for key in keys {
            let kind: String = self.ask(&["TYPE", &key]).await.unwrap();
            // The dump of a hash has its order, which changes as it is read.
            let value = if kind == "hash" {
                let fields: BTreeMap<String, String> = self.ask(&["HGETALL", &key]).await.unwrap();
                format!("{fields:?}").into_bytes()
            } else {
                self.ask(&["DUMP", &key]).await.unwrap()
            };
            all.insert(key, value);
        }
        all
    }

    /// Notes that a script is run; with `is_full_tried` runs it where Redis is full, which changes nothing at all, unless it
    /// gives memory back: then that was all, and its answer counts.
    pub(super) async fn rehearse(&self, script: &Script, args: &ScriptArgs<'_>) -> Option<Value> {
        let rehearsal = self.rehearsal.as_ref()?;
        let name = name_of(script);
        let names = args.0.iter().map(|(name, _)| *name);
        rehearsal.ran.lock().unwrap().entry(name).or_default().extend(names);
        rehearsal.recorder.record(self, name, args).await;
        if !rehearsal.is_full_tried {
            return None;
        }
        let before = self.everything().await;
        self.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
        let mut invocation = script.prepare_invoke();
        for (name, value) in args.present() {
            invocation.arg(name).arg(value);
        }
        let mut redis = self.redis.clone();
        let answer: Result<Value, StoreError> = self.limited(invocation.invoke_async(&mut redis)).await;
        self.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
        let after = self.everything().await;
        let changed: Vec<_> = before
            .keys()
            .chain(after.keys())
            .filter(|key| before.get(*key) != after.get(*key))
            .collect();
        match answer {
            Ok(answer) if GIVES_BACK.contains(&name) => (!changed.is_empty()).then_some(answer),
            Ok(_) => {
                assert!(changed.is_empty(), "{name} wrote {changed:?} into a full Redis");
                None
            }
            Err(StoreError::Unavailable(_)) => {
                assert!(
                    changed.is_empty(),
                    "{name} wrote {changed:?} before a full Redis refused it"
                );
                None
            }
            Err(error) => panic!("{name} in a full Redis: {error}"),
        }
    }
}

/// The scripts that a life has not run.
fn left_out(bed: &Bed) -> Vec<&'static str> {
    let ran = bed.rehearsal.ran.lock().unwrap();
    scripts::NAMES
        .iter()
        .copied()
        .filter(|name| !ran.contains_key(name))
        .collect()
}

#[tokio::test]
async fn no_script_writes_a_part_where_redis_is_full() {
    let bed = Bed::start(true).await;
    life::live(&bed, life::Size::small()).await;
    assert_eq!(
        left_out(&bed),
        [""; 0],
        "a script has no place in the life of the trials"
    );
}

#[tokio::test]
async fn no_script_fails_at_its_largest_arguments() {
    let bed = Bed::start(false).await;
    life::live(&bed, life::Size::largest()).await;
    assert_eq!(
        left_out(&bed),
        [""; 0],
        "a script has no place in the life of the trials"
    );
}

/// What every script is given, whether it reads it or not.
const FOR_ALL: [&str; 6] = ["db", "ttl", "keep_events", "now", "day", "date"];

/// The arguments that a script reads: the fields of `args`.
fn read_arguments(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("args.")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| is_word(c) || c == '.'))
        .map(|(at, _)| {
            let name = &text[at + "args.".len()..];
            &name[..name.find(|c| !is_word(c)).unwrap_or(name.len())]
        })
        .collect()
}

#[test]
fn the_comment_of_a_script_names_the_arguments_that_it_reads() {
    for (name, text) in scripts::NAMES.iter().zip(scripts::link_all()) {
        // The comments of the library are not linked.
        let lines = text.lines().skip_while(|line| !line.starts_with("--"));
        let comment: Vec<_> = lines.take_while(|line| line.starts_with("--")).collect();
        let comment = comment.join("\n");
        let named: BTreeSet<_> = comment
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .collect();
        let read = read_arguments(&text);
        let missing: Vec<_> = read
            .iter()
            .filter(|argument| !named.contains(**argument) && !FOR_ALL.contains(argument))
            .collect();
        assert!(missing.is_empty(), "the comment of {name} does not name {missing:?}");
    }
}

#[tokio::test]
async fn a_script_is_given_what_it_reads_and_nothing_else() {
    let bed = Bed::start(false).await;
    life::live(&bed, life::Size::small()).await;
    let ran = bed.rehearsal.ran.lock().unwrap();
    let texts = scripts::link_all();
    for (name, text) in scripts::NAMES.iter().zip(&texts) {
        let read = read_arguments(text);
        let given = &ran[name];
        let unread: Vec<_> = given
            .iter()
            .filter(|name| !read.contains(**name) && !FOR_ALL.contains(name))
            .collect();
        assert!(unread.is_empty(), "{name} does not read {unread:?}");
        let missing: Vec<_> = read.iter().filter(|name| !given.contains(**name)).collect();
        assert!(missing.is_empty(), "{name} reads {missing:?}, which it is never given");
    }
}
