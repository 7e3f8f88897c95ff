//! What this machine has of programs, environments, models and devices. Each answer is kept for some seconds.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use onceover_catalog::Hub;
use tokio::time::Instant;

use crate::python::State;
use onceover_process::environment;

/// How long an answer is kept. A program that is removed is missed by the runs of this time.
const KEPT: Duration = Duration::from_secs(5);
/// Answers that are kept, and bytes of a name of which one is; names of models are up to requests.
const MOST_KEPT: usize = 4096;
const LONGEST_KEPT: usize = 4096;

/// What the machine may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum MachineItem {
    /// A program, by its name or path.
    Program(String),
    /// The Python environment of a service.
    Environment(String),
    /// A model, by where it is kept and its name there.
    Model(Hub, String),
    Gpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Here,
    Absent,
    /// Of other requirements: environments alone.
    Outdated,
}

impl From<bool> for Presence {
    fn from(is_here: bool) -> Self {
        if is_here { Self::Here } else { Self::Absent }
    }
}

impl From<State> for Presence {
    fn from(state: State) -> Self {
        match state {
            State::Ready => Self::Here,
            State::Absent => Self::Absent,
            State::Outdated => Self::Outdated,
        }
    }
}

/// Which kept answers are as good as a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    AnyKept,
    /// That something is there; that it is not is looked at again.
    KeptIfHere,
}

#[derive(Debug, Clone, Copy)]
struct KeptAnswer {
    at: Instant,
    presence: Presence,
}

/// The answers that are kept.
#[derive(Debug)]
pub(super) struct KnownItems {
    answers: Mutex<HashMap<MachineItem, KeptAnswer>>,
    kept: Duration,
}

impl Default for KnownItems {
    fn default() -> Self {
        Self {
            answers: Mutex::default(),
            kept: KEPT,
        }
    }
}

impl KnownItems {
    pub(super) fn program(&self, name: &str, trust: Trust) -> Presence {
        let item = MachineItem::Program(name.to_owned());
        self.ask(item, trust, || find_program(name).is_some().into())
    }

    pub(super) fn model(&self, hub: Hub, name: &str, trust: Trust) -> Presence {
        if name.len() > LONGEST_KEPT {
            return model_is_here(hub, name).into();
        }
        let item = MachineItem::Model(hub, name.to_owned());
        self.ask(item, trust, || model_is_here(hub, name).into())
    }

    pub(super) fn gpu(&self, trust: Trust) -> Presence {
        self.ask(MachineItem::Gpu, trust, || has_gpu().into())
    }

    /// The kept answer where it is trusted, else what `look` finds, which is kept from then on.
    pub(super) fn ask(&self, item: MachineItem, trust: Trust, look: impl FnOnce() -> Presence) -> Presence {
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = answers().get(&item).copied();
        let is_trusted = |answer: &KeptAnswer| {
            answer.at.elapsed() < self.kept && (trust == Trust::AnyKept || answer.presence == Presence::Here)
        };
        if let Some(answer) = kept.filter(is_trusted) {
            return answer.presence;
        }
        let at = Instant::now();
        // Without the lock: a file system may take its time.
        let presence = look();
        let mut answers = answers();
        if answers.len() >= MOST_KEPT {
            answers.retain(|_, kept| kept.at.elapsed() < self.kept);
        }
        if answers.len() >= MOST_KEPT {
            answers.clear();
        }
        answers.insert(item, KeptAnswer { at, presence });
        presence
    }
}

/// The file a program name stands for; a name with a slash is a path.
pub fn find_program(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}

/// Whether there is a device that CUDA or ROCm programs could use.
fn has_gpu() -> bool {
    let is_there = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"]
        .iter()
        .any(|device| Path::new(device).exists());
    // As CUDA itself reads it.
    let is_hidden = env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|devices| matches!(devices.trim(), "" | "-1"));
    is_there && !is_hidden
}

/// Whether a value is meant as a path, not as a name at a hub.
pub fn is_model_path(name: &str) -> bool {
    name.starts_with(['/', '.', '~'])
}

/// The folder of models that were put on this machine, as the programs look for it (onceover_node.py).
pub fn models_folder() -> Option<PathBuf> {
    set_folder("ONCEOVER_MODELS").or_else(|| Some(cache_folder()?.join("onceover/models")))
}

fn cache_folder() -> Option<PathBuf> {
    set_folder("XDG_CACHE_HOME").or_else(|| below_home(".cache"))
}

/// The folder that a variable of the environment names.
fn set_folder(variable: &str) -> Option<PathBuf> {
    environment::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn below_home(folder: &str) -> Option<PathBuf> {
    env::var_os("HOME").map(|home| Path::new(&home).join(folder))
}

fn model_is_here(hub: Hub, name: &str) -> bool {
    if name.is_empty() || is_model_path(name) || hub == Hub::Path {
        return name.is_empty() || Path::new(name).exists();
    }
    let Some((owner, model)) = name.split_once('/') else {
        return true;
    };
    if models_folder().is_some_and(|folder| folder.join(name).exists()) {
        return true;
    }
    match hub {
        Hub::HuggingFace => {
            let root = set_folder("HF_HOME").or_else(|| Some(cache_folder()?.join("huggingface")));
            let snapshots = root.map(|root| root.join(format!("hub/models--{owner}--{model}/snapshots")));
            snapshots.is_some_and(|folder| holds_something(&folder))
        }
        Hub::ModelScope => {
            let root = set_folder("MODELSCOPE_CACHE").or_else(|| below_home(".cache/modelscope/hub"));
            // Its client writes a dot in a name like this.
            let below = [owner, &model.replace('.', "___")].join("/");
            let newer = format!("models/{owner}--{model}/snapshots");
            root.is_some_and(|root| {
                // Its newer client keeps models beside `hub`.
                let beside = root.parent().map(|above| above.join(&newer));
                [root.join(&below), root.join("models").join(&below), root.join(&newer)]
                    .iter()
                    .chain(&beside)
                    .any(|folder| holds_something(folder))
            })
        }
        Hub::Path => unreachable!("judged above"),
    }
}

fn holds_something(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_answer_is_kept_for_its_time_and_an_absence_only_where_it_is_not_reported() {
        let looks = Cell::new(0);
        let ask = |machine: &KnownItems, trust: Trust, found: Presence| {
            let look = || {
                looks.set(looks.get() + 1);
                found
            };
            machine.ask(MachineItem::Gpu, trust, look)
        };
        let machine = KnownItems::default();
        for (trust, now, answered, looked) in [
            (Trust::KeptIfHere, Presence::Absent, Presence::Absent, 1),
            (Trust::AnyKept, Presence::Here, Presence::Absent, 1),
            (Trust::KeptIfHere, Presence::Here, Presence::Here, 2),
            (Trust::AnyKept, Presence::Absent, Presence::Here, 2),
            (Trust::KeptIfHere, Presence::Absent, Presence::Here, 2),
        ] {
            assert_eq!((ask(&machine, trust, now), looks.get()), (answered, looked));
        }
        let forgetful = KnownItems {
            kept: Duration::ZERO,
            ..KnownItems::default()
        };
        for looked in [3, 4] {
            ask(&forgetful, Trust::AnyKept, Presence::Here);
            assert_eq!(looks.get(), looked);
        }
    }

    #[test]
    fn no_more_answers_are_kept_than_may_be() {
        let machine = KnownItems::default();
        for number in 0..=MOST_KEPT {
            machine.ask(MachineItem::Program(number.to_string()), Trust::AnyKept, || {
                Presence::Absent
            });
        }
        assert_eq!(machine.answers.lock().unwrap().len(), 1);
        machine.model(Hub::HuggingFace, &"a/".repeat(LONGEST_KEPT), Trust::AnyKept);
        assert_eq!(machine.answers.lock().unwrap().len(), 1);
    }
}
