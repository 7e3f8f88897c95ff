//! The reaper of processes: a second process of this program, which outlives a daemon that was killed with SIGKILL just
//! long enough to end what the daemon left, the runs' programs and the private Redis. Until then it waits on a pipe and
//! does nothing else. It never touches records or leases: the store's reaper, `reap.lua`, takes those back.

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

/// How long the reaper keeps killing what the daemon's runs left.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a new daemon has to take the data folder's lock before the private Redis is ended.
const SUCCESSION: Duration = Duration::from_secs(10);

/// How long Redis may take to save and end.
const REDIS_END: Duration = Duration::from_secs(5);

/// How often the lock is tried meanwhile.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// What a daemon writes that ends by itself and has cleaned up.
const DISMISSED: u8 = b'q';

/// The private Redis that a reaper may have to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisToEnd {
    /// The file that holds the pid of redis-server.
    pub pid_file: PathBuf,
    /// The lock file of the data folder, which the living daemon holds.
    pub lock: PathBuf,
}

/// A running reaper. Where this is dropped without `dismiss`, the reaper takes it for the daemon's death.
#[derive(Debug)]
pub struct Reaper {
    child: Child,
    stdin: Option<ChildStdin>,
}

/// Starts this program again as `reaper`, in a separate process group so that ctrl-C does not reach it.
pub fn spawn(mark_prefix: &str, redis: Option<&RedisToEnd>) -> io::Result<Reaper> {
    // This path works also right after the file on disk was replaced by a newer version.
    spawn_program(Path::new("/proc/self/exe"), mark_prefix, redis)
}

fn spawn_program(program: &Path, mark_prefix: &str, redis: Option<&RedisToEnd>) -> io::Result<Reaper> {
    let mut command = Command::new(program);
    command.arg0("onceoverd").arg("reaper").arg("--mark").arg(mark_prefix);
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
        // The reaper needs no variable, least of all tokens and keys. And where the daemon was itself started by a run,
        // the reaper must not carry that run's mark, or it would kill itself.
        .env_clear()
        .current_dir("/")
        .process_group(0)
        .spawn()?;
    Ok(Reaper {
        stdin: child.stdin.take(),
        child,
    })
}

impl Reaper {
    /// Ends the reaper without any work for it: the daemon has ended its runs and its Redis itself.
    pub fn dismiss(mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            // An error means that the reaper has ended already.
            let _ = stdin.write_all(&[DISMISSED]);
        }
        let _ = self.child.wait();
    }

    /// Returns the process id of the reaper.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The arguments of a reaper.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Orders {
    mark: String,
    redis: Option<RedisToEnd>,
}

/// The arguments are none that a daemon gives.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot run as reaper: {0}; only the daemon starts this command")]
pub struct ReaperArguments(String);

/// Runs `onceoverd reaper --mark PREFIX [--redis-pid-file FILE --lock FILE]`, given what follows `reaper`. It needs no
/// async runtime.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Result<(), ReaperArguments> {
    let orders = Orders::parse(args)?;
    wait_and_clean_up(io::stdin().lock(), &orders, SUCCESSION);
    Ok(())
}

impl Orders {
    fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ReaperArguments> {
        let wrong = ReaperArguments;
        let (mut mark, mut pid_file, mut lock) = (None, None, None);
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let value = args
                .next()
                .ok_or_else(|| wrong(format!("{} needs a value", flag.display())))?;
            match flag.to_str() {
                Some("--mark") => mark = value.into_string().ok(),
                Some("--redis-pid-file") => pid_file = Some(value.into()),
                Some("--lock") => lock = Some(value.into()),
                _ => return Err(wrong(format!("{} is unknown", flag.display()))),
            }
        }
        let mark = mark
            .filter(|mark| !mark.is_empty())
            .ok_or_else(|| wrong("--mark is missing".into()))?;
        let redis = match (pid_file, lock) {
            (Some(pid_file), Some(lock)) => Some(RedisToEnd { pid_file, lock }),
            (None, None) => None,
            _ => return Err(wrong("--redis-pid-file and --lock go together".into())),
        };
        Ok(Self { mark, redis })
    }
}

/// What the reaper did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Dismissed,
    Swept,
    RedisEnded,
    /// A new daemon holds the data folder, and with it the Redis.
    RedisTakenOver,
}

/// Waits for the end of the daemon, then ends what it left.
fn wait_and_clean_up(mut stdin: impl Read, orders: &Orders, succession: Duration) -> Outcome {
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

/// Waits until the daemon dismisses the reaper or has ended. Returns whether it was dismissed.
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

/// Whether a new daemon took the lock within the given time. The lock is held for an instant only at each try.
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
        std::thread::sleep(TRY_EVERY);
    }
}

/// Ends Redis while holding the lock, so that no new daemon relies on one that is about to end.
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
    // The descriptor is opened before the name is read, so that the number cannot become another process in between.
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
    // A process that ended and was not waited for yet keeps its name but not its memory.
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

    /// Returns a process as a killed daemon leaves it.
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
        let reaper = std::thread::spawn(move || wait_and_clean_up(reader, &orders, SUCCESSION));
        assert!(child.try_wait().unwrap().is_none());
        drop(writer);
        assert_eq!(reaper.join().unwrap(), Outcome::Swept);
        assert!(!child.wait().unwrap().success());
        assert!(
            other.try_wait().unwrap().is_none(),
            "a process of another daemon was killed"
        );
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn a_dismissed_reaper_touches_nothing() {
        let mark = unique();
        let mut child = left_over(&mark);
        assert_eq!(
            wait_and_clean_up(&b"q"[..], &orders(&mark, None), SUCCESSION),
            Outcome::Dismissed
        );
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn o2_a_private_redis_no_new_daemon_wants_is_ended() {
        let mut redis = Redis::start();
        let outcome = wait_and_clean_up(io::empty(), &redis.orders(), Duration::from_millis(200));
        assert_eq!(outcome, Outcome::RedisEnded);
        assert!(redis.child.wait().unwrap().success(), "Redis was not ended gently");
    }

    #[test]
    fn a_private_redis_a_new_daemon_took_over_is_left_alone() {
        let mut redis = Redis::start();
        let lock = File::open(redis.dir.path().join("lock")).unwrap();
        lock.try_lock().unwrap();
        assert_eq!(
            wait_and_clean_up(io::empty(), &redis.orders(), SUCCESSION),
            Outcome::RedisTakenOver
        );
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
        wait_and_clean_up(io::empty(), &orders(&unique(), Some(redis)), Duration::ZERO);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_reaper_is_started_with_the_flags_that_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        // Stands for onceoverd: writes down what it was started with, then waits for its input's end.
        let program = dir.path().join("program");
        let arguments = dir.path().join("arguments");
        fs::write(
            &program,
            format!(
                "#!/bin/sh\nprintf '%s\\n' \"$@\" >{0}.part; cat >{1}; mv {0}.part {0}\n",
                arguments.display(),
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
        let args: Vec<_> = fs::read_to_string(&arguments)
            .unwrap()
            .lines()
            .map(OsString::from)
            .collect();
        assert_eq!(args[0], "reaper");
        assert_eq!(Orders::parse(args[1..].to_vec()), Ok(orders("abc/", Some(redis))));
        assert_eq!(fs::read(dir.path().join("word")).unwrap(), [DISMISSED]);
    }

    #[test]
    fn a_reaper_without_a_mark_refuses_to_start() {
        let parse = |args: &[&str]| Orders::parse(args.iter().map(OsString::from));
        assert!(parse(&[]).is_err());
        assert!(parse(&["--mark", ""]).is_err());
        assert!(parse(&["--mark"]).is_err());
        assert!(parse(&["--mark", "a", "--lock", "b"]).is_err());
        assert!(parse(&["--mark", "a", "--other", "b"]).is_err());
    }
}
