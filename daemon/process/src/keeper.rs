//! The keeper: a second process of our own program that outlives a daemon killed with SIGKILL just long
//! enough to end what it left, the runs' processes and the private Redis. It only waits on a pipe.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::sweep_until_gone;

/// How long the keeper goes on killing what the daemon's runs left.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a new daemon has to take the data folder's lock before the private Redis is ended.
const SUCCESSION: Duration = Duration::from_secs(10);

/// How long Redis may take to save and end.
const REDIS_END: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Said by a daemon that ends by itself and has cleaned up.
const DISMISSED: u8 = b'q';

/// The private Redis a keeper may have to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisToEnd {
    /// Holds the pid of redis-server.
    pub pid_file: PathBuf,
    /// The data folder's lock file, which the living daemon holds.
    pub lock: PathBuf,
}

/// A running keeper. Dropping it without `dismiss` looks to it like the daemon's death.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    stdin: Option<ChildStdin>,
}

/// Starts this program again as `keeper`, in a process group of its own so that ctrl-C does not reach it.
pub fn spawn(mark_prefix: &str, redis: Option<&RedisToEnd>) -> io::Result<Keeper> {
    // Also right after the file on disk was replaced by a newer version.
    spawn_program(Path::new("/proc/self/exe"), mark_prefix, redis)
}

fn spawn_program(program: &Path, mark_prefix: &str, redis: Option<&RedisToEnd>) -> io::Result<Keeper> {
    let mut command = Command::new(program);
    command.arg0("onceoverd").arg("keeper").arg("--mark").arg(mark_prefix);
    if let Some(redis) = redis {
        command
            .arg("--redis-pid-file")
            .arg(std::path::absolute(&redis.pid_file)?);
        command.arg("--lock").arg(std::path::absolute(&redis.lock)?);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // It needs nothing of it, least of all tokens and keys; and it must not sweep itself away where the daemon was
        // itself started by a run.
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .spawn()?;
    Ok(Keeper {
        stdin: child.stdin.take(),
        child,
    })
}

impl Keeper {
    /// For a daemon that has ended its runs and its Redis itself: the keeper ends and does nothing.
    pub fn dismiss(mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            // A keeper that is gone already needs no word.
            let _ = stdin.write_all(&[DISMISSED]);
        }
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// What a keeper was told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Orders {
    mark: String,
    redis: Option<RedisToEnd>,
}

/// Arguments that only a person could have given.
#[derive(Debug, thiserror::Error)]
#[error("keeper: {0}; the daemon starts this command, do not run it by hand")]
pub struct KeeperArguments(String);

/// Runs `onceoverd keeper --mark PREFIX [--redis-pid-file FILE --lock FILE]`, given what follows `keeper`. Needs no
/// async runtime.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Result<(), KeeperArguments> {
    let orders = Orders::parse(args).map_err(KeeperArguments)?;
    keep(io::stdin().lock(), &orders, SUCCESSION);
    Ok(())
}

impl Orders {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let (mut mark, mut pid_file, mut lock) = (None, None, None);
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{} needs a value", flag.display()))?;
            match flag.to_str() {
                Some("--mark") => mark = value.into_string().ok(),
                Some("--redis-pid-file") => pid_file = Some(value.into()),
                Some("--lock") => lock = Some(value.into()),
                _ => return Err(format!("{} is unknown", flag.display())),
            }
        }
        let mark = mark.filter(|mark| !mark.is_empty()).ok_or("--mark is missing")?;
        let redis = match (pid_file, lock) {
            (Some(pid_file), Some(lock)) => Some(RedisToEnd { pid_file, lock }),
            (None, None) => None,
            _ => return Err("--redis-pid-file and --lock go together".into()),
        };
        Ok(Self { mark, redis })
    }
}

/// What the keeper found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Dismissed,
    Swept,
    RedisEnded,
    /// A new daemon holds the data folder, and with it the Redis.
    RedisTakenOver,
}

fn keep(mut stdin: impl Read, orders: &Orders, succession: Duration) -> Outcome {
    if was_dismissed(&mut stdin) {
        return Outcome::Dismissed;
    }
    sweep_until_gone(&orders.mark, SWEEP);
    match &orders.redis {
        Some(redis) if is_taken_over(&redis.lock, succession) => Outcome::RedisTakenOver,
        Some(redis) => {
            end_redis(redis);
            Outcome::RedisEnded
        }
        None => Outcome::Swept,
    }
}

/// Waits for a word from the daemon, or its end.
fn was_dismissed(stdin: &mut impl Read) -> bool {
    let mut byte = [0];
    loop {
        match stdin.read(&mut byte) {
            Ok(0) => return false,
            Ok(_) if byte[0] == DISMISSED => return true,
            Err(why) if why.kind() != io::ErrorKind::Interrupted => return false,
            _ => {}
        }
    }
}

/// Whether a new daemon took the lock within the given time. The lock is only touched for an instant each time.
fn is_taken_over(lock: &Path, longest: Duration) -> bool {
    let deadline = Instant::now() + longest;
    loop {
        // Without the file there is no data folder left to take over.
        let Ok(file) = File::open(lock) else {
            return false;
        };
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return true;
        }
        drop(file);
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Ends Redis while holding the lock, so that no new daemon relies on one that is about to go.
fn end_redis(redis: &RedisToEnd) {
    let lock = File::open(&redis.lock).ok();
    if lock.as_ref().is_some_and(|lock| lock.try_lock().is_err()) {
        return;
    }
    let Some(pid) = fs::read_to_string(&redis.pid_file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .and_then(Pid::from_raw)
    else {
        return;
    };
    // Opened before looking at the name, so that it cannot become another process in between.
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if !is_redis(pid) || pidfd_send_signal(&fd, Signal::TERM).is_err() {
        return;
    }
    let deadline = Instant::now() + REDIS_END;
    while is_redis(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_redis(pid: Pid) -> bool {
    let of_process = |file: &str| format!("/proc/{}/{file}", pid.as_raw_nonzero());
    // A process that ended and was not yet waited for keeps its name but not its memory.
    let alive = fs::read(of_process("cmdline")).is_ok_and(|text| !text.is_empty());
    let name = fs::read_to_string(of_process("comm")).unwrap_or_default();
    alive && matches!(name.trim(), "redis-server" | "valkey-server")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(mark: &str, redis: Option<RedisToEnd>) -> Orders {
        Orders {
            mark: mark.into(),
            redis,
        }
    }

    fn unique() -> String {
        format!("test-{}/", onceover_types::RunId::generate())
    }

    /// A process as a killed daemon leaves it.
    fn left_over(mark: &str) -> Child {
        Command::new("sleep")
            .arg("60")
            .env(onceover_run::tool::RUN_VARIABLE, format!("{mark}run/1"))
            .spawn()
            .unwrap()
    }

    struct Redis {
        dir: tempfile::TempDir,
        child: Child,
    }

    impl Redis {
        fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let child = Command::new("redis-server")
                .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--pidfile"])
                .arg(dir.path().join("redis.pid"))
                .current_dir(dir.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            fs::write(dir.path().join("lock"), "").unwrap();
            while !fs::read_to_string(dir.path().join("redis.pid")).is_ok_and(|pid| pid.ends_with('\n')) {
                std::thread::sleep(Duration::from_millis(10));
            }
            Self { dir, child }
        }

        fn orders(&self) -> Orders {
            let path = |name| self.dir.path().join(name);
            let redis = RedisToEnd {
                pid_file: path("redis.pid"),
                lock: path("lock"),
            };
            orders(&unique(), Some(redis))
        }
    }

    impl Drop for Redis {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[test]
    fn o2_the_end_of_the_pipe_ends_what_the_daemon_left() {
        let mark = unique();
        let mut child = left_over(&mark);
        let mut other = left_over(&unique());
        let (reader, writer) = io::pipe().unwrap();
        let orders = orders(&mark, None);
        let keeper = std::thread::spawn(move || keep(reader, &orders, SUCCESSION));
        assert!(child.try_wait().unwrap().is_none());
        drop(writer);
        assert_eq!(keeper.join().unwrap(), Outcome::Swept);
        assert!(!child.wait().unwrap().success());
        assert!(
            other.try_wait().unwrap().is_none(),
            "a process of another daemon was killed"
        );
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_dismissed_keeper_touches_nothing() {
        let mark = unique();
        let mut child = left_over(&mark);
        assert_eq!(keep(&b"q"[..], &orders(&mark, None), SUCCESSION), Outcome::Dismissed);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn o2_a_private_redis_no_new_daemon_wants_is_ended() {
        let mut redis = Redis::start();
        let outcome = keep(io::empty(), &redis.orders(), Duration::from_millis(200));
        assert_eq!(outcome, Outcome::RedisEnded);
        assert!(redis.child.wait().unwrap().success(), "Redis was not ended gently");
    }

    #[test]
    fn a_private_redis_a_new_daemon_took_over_is_left_alone() {
        let mut redis = Redis::start();
        let lock = File::open(redis.dir.path().join("lock")).unwrap();
        lock.try_lock().unwrap();
        assert_eq!(keep(io::empty(), &redis.orders(), SUCCESSION), Outcome::RedisTakenOver);
        assert!(redis.child.try_wait().unwrap().is_none());
    }

    #[test]
    fn a_pid_that_is_not_redis_is_never_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = left_over(&unique());
        let redis = RedisToEnd {
            pid_file: dir.path().join("redis.pid"),
            lock: dir.path().join("lock"),
        };
        fs::write(&redis.pid_file, format!("{}\n", child.id())).unwrap();
        fs::write(&redis.lock, "").unwrap();
        keep(io::empty(), &orders(&unique(), Some(redis)), Duration::ZERO);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_keeper_is_told_with_the_flags_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        // Stands for onceoverd: writes down what it was started with, then waits for its input's end.
        let program = dir.path().join("program");
        let told = dir.path().join("told");
        fs::write(
            &program,
            format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" >{0}.part; cat >{1}; mv {0}.part {0}\n",
                told.display(),
                dir.path().join("word").display()
            ),
        )
        .unwrap();
        let mut permissions = fs::metadata(&program).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(&program, permissions).unwrap();
        let redis = RedisToEnd {
            pid_file: "/data/redis.pid".into(),
            lock: "/data/lock".into(),
        };
        spawn_program(&program, "abc/", Some(&redis)).unwrap().dismiss();
        let args: Vec<_> = fs::read_to_string(&told).unwrap().lines().map(OsString::from).collect();
        assert_eq!(args[0], "keeper");
        assert_eq!(Orders::parse(args[1..].to_vec()), Ok(orders("abc/", Some(redis))));
        assert_eq!(fs::read(dir.path().join("word")).unwrap(), [DISMISSED]);
    }

    #[test]
    fn a_keeper_without_a_mark_refuses_to_start() {
        let parse = |args: &[&str]| Orders::parse(args.iter().map(OsString::from));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--mark", ""]).is_err());
        assert!(parse(&["--mark"]).is_err());
        assert!(parse(&["--mark", "a", "--lock", "b"]).is_err());
        assert!(parse(&["--mark", "a", "--other", "b"]).is_err());
    }
}
