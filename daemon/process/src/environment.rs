//! The variables that the daemon was started with. Those that may be secrets are kept in memory alone: programs of
//! nodes run as the daemon's user, and could read them where the system shows how a process was started.
//!
//! The daemon executes itself again (the process stays the same) with the harmless variables only, and gets the others
//! through its standard input, from a file that exists in memory and has no name.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        process::CommandExt,
    },
    process::Command,
    sync::{LazyLock, OnceLock},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{DumpableBehavior, set_dumpable_behavior},
    stdio::dup2_stdin,
};

use onceover_run::tool::is_inherited;

/// The variable that says that the standard input has the other variables.
const HANDED_OVER: &str = "ONCEOVER_HANDED_OVER";

/// Variables that hold no secret, or that libraries read themselves; those that end in `*` by prefix. The variables
/// that every program of a node gets are harmless as well.
const HARMLESS: [&str; 22] = [
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "XDG_*",
    "RUST_*",
    "SSL_CERT_*",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "NOTIFY_SOCKET",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_*",
    "MALLOC_*",
    "NVIDIA_*",
    "TZDIR",
    "ONCEOVER_*",
];

/// Variables of Onceover that are secrets.
const SECRET: [&str; 3] = ["ONCEOVER_TOKENS", "ONCEOVER_CALLBACK_SECRETS", "ONCEOVER_REDIS"];

/// The variables that were handed over to this process.
static HANDED: OnceLock<BTreeMap<OsString, OsString>> = OnceLock::new();

fn is_harmless(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    if SECRET.contains(&name) {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let is_listed = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(prefix) => upper.starts_with(prefix),
        None => upper == **pattern,
    };
    is_inherited(name) || HARMLESS.iter().any(is_listed)
}

/// Returns a variable, wherever it is kept.
pub fn var_os(name: &str) -> Option<OsString> {
    let handed = HANDED.get().and_then(|handed| handed.get(OsStr::new(name)));
    handed.cloned().or_else(|| env::var_os(name))
}

/// Returns a variable that is text; `None` where it is not set or is no UTF-8.
pub fn var(name: &str) -> Option<String> {
    var_os(name)?.into_string().ok()
}

/// Returns every variable, wherever it is kept.
pub fn vars_os() -> impl Iterator<Item = (OsString, OsString)> {
    let handed = HANDED.get().into_iter().flatten();
    let handed = handed.map(|(name, value)| (name.clone(), value.clone()));
    env::vars_os().filter(|(name, _)| name != HANDED_OVER).chain(handed)
}

/// The variables that programs of nodes may get. None changes while the daemon runs.
pub(crate) struct ProgramVariables {
    /// Those that every program gets.
    pub(crate) always: Vec<(OsString, OsString)>,
    /// Those that a program gets if its node names them.
    pub(crate) if_named: Vec<(OsString, OsString)>,
}

/// Returns the variables that programs of nodes may get, which are read once.
pub(crate) fn program_variables() -> &'static ProgramVariables {
    static VARIABLES: LazyLock<ProgramVariables> = LazyLock::new(|| {
        let (always, if_named) = vars_os().partition(|(name, _)| name.to_str().is_some_and(is_inherited));
        ProgramVariables { always, if_named }
    });
    &VARIABLES
}

/// Reads the variables that were handed over to this process, if any were. Must be called before anything else.
pub fn receive() -> io::Result<()> {
    if env::var_os(HANDED_OVER).is_none() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    dup2_stdin(File::open("/dev/null")?)?;
    let variables = bytes.split(|byte| *byte == 0).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        let part = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((part(&line[..at]), part(&line[at + 1..])))
    });
    // It is only set here, and once.
    let _ = HANDED.set(variables.collect());
    forbid_reading()
}

/// Executes this program again in this process, without secrets in its environment. Returns where that is not needed,
/// and the error where it cannot be done.
pub fn hide() -> io::Result<()> {
    if HANDED.get().is_some() {
        return Ok(());
    }
    if env::vars_os().all(|(name, _)| is_harmless(&name)) {
        return forbid_reading();
    }
    let mut arguments = env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "onceoverd".into()));
    command.args(arguments);
    hand_over(&mut command)?;
    Err(command.exec())
}

/// Gives another process of this program all variables, the secret ones through its standard input.
pub fn hand_over(command: &mut Command) -> io::Result<()> {
    let (harmless, secret): (Vec<_>, Vec<_>) = vars_os().partition(|(name, _)| is_harmless(name));
    let mut file = File::from(memfd_create("environment", MemfdFlags::CLOEXEC)?);
    for (name, value) in secret {
        file.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())?;
    }
    file.rewind()?;
    command.env_clear().envs(harmless).env(HANDED_OVER, "stdin").stdin(file);
    Ok(())
}

/// Forbids other processes of the same user, unless they have more rights, to read the memory of this one.
fn forbid_reading() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_be_harmless_is_a_secret() {
        for name in [
            "PATH",
            "LC_ALL",
            "https_proxy",
            "ONCEOVER_LOG",
            "ONCEOVER_RUN",
            "XDG_DATA_HOME",
            "CUDA_VISIBLE_DEVICES",
        ] {
            assert!(is_harmless(OsStr::new(name)), "{name}");
        }
        for name in [
            "ONCEOVER_TOKENS",
            "ONCEOVER_REDIS",
            "ONCEOVER_CALLBACK_SECRETS",
            "MINIO_SECRET_KEY",
            "DEEPSEEK_API_KEY",
            "HF_TOKEN",
            "DATABASE_URL",
        ] {
            assert!(!is_harmless(OsStr::new(name)), "{name}");
        }
    }
}
